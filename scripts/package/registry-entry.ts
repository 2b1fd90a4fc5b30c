import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './run.ts'

/** The entry for the registry of MCP: `server.json` of the repository, with the version that is packed. */

interface Entry {
  readonly packages: readonly { readonly version: string }[]
}

/** Writes the entry and returns its path. */
export function writeRegistryEntry({ version, outFolder }: { version: string; outFolder: string }): string {
  const entry = JSON.parse(readFileSync(join(ROOT, 'server.json'), 'utf8')) as Entry
  const packages = entry.packages.map((each) => ({ ...each, version }))
  mkdirSync(outFolder, { recursive: true })
  const file = join(outFolder, 'server.json')
  writeFileSync(file, `${JSON.stringify({ ...entry, version, packages }, null, 2)}\n`)
  return file
}
