import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { configMarkdown, configYaml } from '../src/host/config/documents.ts'
import { openApiDocument } from '../src/http/api/openapi.ts'
import { asyncapiYaml, version } from './asyncapi.ts'
import { dependenciesMarkdown } from './dependencies.ts'
import { grafanaJson } from './grafana.ts'
import { metricsMarkdown } from './metrics.ts'
import { protocolReferenceMarkdown } from './protocol-tables.ts'

/**
 * Writes the documents that are made from the code. `--check` writes nothing and exits 1 when one is out of
 * date. A further document is one more line of the table.
 */
export const GENERATORS: Readonly<Record<string, () => string>> = {
  'config/limb-bridge.yaml': configYaml,
  'docs/configuration.md': configMarkdown,
  'docs/asyncapi.yaml': asyncapiYaml,
  'docs/protocol/reference.md': protocolReferenceMarkdown,
  'docs/openapi.json': () => `${JSON.stringify(openApiDocument(version()), null, 2)}\n`,
  'docs/dependencies.md': dependenciesMarkdown,
  'docs/metrics.md': metricsMarkdown,
  'config/grafana-dashboard.json': grafanaJson,
}

const ROOT = join(import.meta.dirname, '..')

function committed(path: string): string | undefined {
  try {
    return readFileSync(join(ROOT, path), 'utf8')
  } catch {
    return undefined
  }
}

/** Paths whose file differs from what the code says. */
export function outdated(): string[] {
  return Object.entries(GENERATORS).flatMap(([path, make]) => (committed(path) === make() ? [] : [path]))
}

function main(): void {
  const stale = outdated()
  if (process.argv.includes('--check')) {
    for (const path of stale) console.error(`${path} is out of date: run \`npm run docs\``)
    process.exitCode = stale.length === 0 ? 0 : 1
    return
  }
  for (const path of stale) {
    const make = GENERATORS[path]
    if (!make) continue
    mkdirSync(dirname(join(ROOT, path)), { recursive: true })
    writeFileSync(join(ROOT, path), make())
    console.log(`wrote ${path}`)
  }
}

if (import.meta.main) main()
