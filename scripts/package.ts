import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { buildDeb } from './package/deb.ts'
import { buildMcpb } from './package/mcpb.ts'
import type { Arch } from './package/node-binary.ts'
import { writeRegistryEntry } from './package/registry-entry.ts'
import { ROOT, run, sourceDate } from './package/run.ts'

/**
 * `npm run package`: the Debian packages, the bundle for hosts of agents (MCPB) and the entry for the registry of MCP, into
 * `release/`. The same commit makes the same bytes.
 *
 *   --arch amd64,arm64     which (default: both)
 *   --version VERSION      in place of that of package.json
 *   --out FOLDER
 */
const ARCHS: readonly Arch[] = ['amd64', 'arm64']

function isArch(name: string): name is Arch {
  return ARCHS.some((arch) => arch === name)
}

const { values } = parseArgs({
  options: { arch: { type: 'string' }, version: { type: 'string' }, out: { type: 'string' } },
})
const archs = (values.arch ?? ARCHS.join(',')).split(',')
const unknown = archs.filter((name) => !isArch(name))
if (unknown.length > 0) throw new Error(`--arch: ${unknown.join(', ')}: known are ${ARCHS.join(', ')}`)
const version = values.version ?? String(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version)
// What Debian allows, less what would need an epoch or a revision.
if (!/^\d[A-Za-z0-9.+~]*$/.test(version)) throw new Error(`--version: ${version} is no version of a package`)

run('npm', ['run', '--silent', 'build'])
const outFolder = values.out ?? join(ROOT, 'release')
for (const arch of archs.filter(isArch)) {
  written(await buildDeb({ arch, version, epochSeconds: sourceDate(), outFolder }))
}
written(buildMcpb({ version, outFolder }))
written(writeRegistryEntry({ version, outFolder }))

function written(file: string): void {
  const bytes = readFileSync(file)
  const hash = createHash('sha256').update(bytes).digest('hex')
  console.log(`${hash}  ${relative(process.cwd(), file)}  ${(bytes.length / 1e6).toFixed(1)} MB`)
}
