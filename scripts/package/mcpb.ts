import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TOOLS } from '../../src/mcp/tools.ts'
import { isNeeded } from './dependencies.ts'
import { ROOT } from './run.ts'
import { type ZipEntry, zip } from './zip.ts'

/**
 * The bundle that hosts of agents install by a click (MCPB): `limb-bridge mcp` with the packages that it loads, for
 * every platform, because none of them has native code.
 */

/** The packages that `limb-bridge mcp` loads; what they bring comes from the lockfile. */
const LOADED = ['@modelcontextprotocol/server', 'commander', 'mqtt', 'yaml', 'zod']

export interface McpbOptions {
  readonly version: string
  readonly outFolder: string
  /** The folder of the built program. */
  readonly dist?: string
}

/** Writes the bundle and returns its path. `dist/` must be built. */
export function buildMcpb({ version, outFolder, dist = join(ROOT, 'dist') }: McpbOptions): string {
  const about = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const { name, description, license, type } = about
  const entries: ZipEntry[] = [
    { name: 'manifest.json', data: json(manifest(version, about)) },
    { name: 'package.json', data: json({ name, version, description, license, type, private: true }) },
    { name: 'LICENSE', data: readFileSync(join(ROOT, 'LICENSE')) },
    { name: 'bin/limb-bridge.js', data: readFileSync(join(ROOT, 'bin/limb-bridge.js')) },
    ...below(dist, 'dist', (path) => path.endsWith('.js')),
    ...closure().flatMap((place) => below(join(ROOT, place), place, (path) => isNeeded(`/${place}/${path}`))),
  ]
  mkdirSync(outFolder, { recursive: true })
  const file = join(outFolder, `limb-bridge-${version}.mcpb`)
  writeFileSync(file, zip(entries.sort((a, b) => (a.name < b.name ? -1 : 1))))
  return file
}

function json(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`)
}

/** Reads the files below a folder, without those of packages that lie in packages: they have places of their own. */
function below(folder: string, name: string, wanted: (path: string) => boolean): ZipEntry[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((path) => !path.startsWith('node_modules/') && wanted(path))
    .map((path) => ({ name: `${name}/${path}`, data: readFileSync(join(folder, path)) }))
}

interface Locked {
  readonly dependencies?: Readonly<Record<string, string>>
}

/** Returns the places in node_modules of the packages that are loaded, and of what they bring. */
function closure(): string[] {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Locked>>
  }
  const found = new Set<string>()
  const visit = (name: string, from: string): void => {
    const place = placeOf(name, from, packages)
    if (found.has(place)) return
    found.add(place)
    for (const each of Object.keys(packages[place]?.dependencies ?? {})) visit(each, place)
  }
  for (const name of LOADED) visit(name, '')
  return [...found]
}

/** Finds a package as Node does: below the one that asks, then below those that hold it. */
function placeOf(name: string, from: string, packages: Readonly<Record<string, Locked>>): string {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const place = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`
    if (packages[place] !== undefined) return place
    if (folder === '') throw new Error(`${name} is not in the lockfile`)
  }
}

/** Names what the person who installs the bundle fills in. */
const field = (name: string) => `\${user_config.${name}}`

interface About {
  readonly name: string
  readonly description: string
  readonly license: string
  readonly engines: { readonly node: string }
}

function manifest(version: string, { name, description, license, engines }: About): object {
  return {
    manifest_version: '0.3',
    name,
    display_name: 'Limb Bridge',
    version,
    description,
    author: { name: 'The Limb Bridge authors' },
    license,
    server: {
      type: 'node',
      entry_point: 'bin/limb-bridge.js',
      mcp_config: {
        command: 'node',
        args: [`\${__dirname}/bin/limb-bridge.js`, 'mcp', '--user', field('user')],
        env: { LIMB_URL: field('url'), LIMB_PASSWORD: field('password') },
      },
    },
    user_config: {
      url: {
        type: 'string',
        title: 'Address of the bridge',
        description: 'mqtt://, mqtts://, ws:// or wss://, with the port',
        default: 'mqtt://127.0.0.1:1883',
        required: true,
      },
      user: {
        type: 'string',
        title: 'Principal',
        description: 'The name that `limb-bridge principal add NAME agent` was given',
        required: true,
      },
      password: {
        type: 'string',
        title: 'Password or token',
        description: 'What `principal add` or `token add` told once',
        sensitive: true,
        required: true,
      },
    },
    tools: TOOLS.map((tool) => ({ name: tool.name, description: tool.title })),
    compatibility: { platforms: ['darwin', 'linux', 'win32'], runtimes: { node: engines.node } },
  }
}
