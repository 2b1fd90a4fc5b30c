import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** `docs/dependencies.md`, made from package.json and the lockfile: what runs with the bridge, and why. */

const ROOT = join(import.meta.dirname, '..')

interface Locked {
  /** Of a workspace: a link to a folder of this repository. */
  readonly link?: boolean
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

/** Why each one is there. A dependency without a reason makes no page. */
const REASONS: Readonly<Record<string, string>> = {
  '@modelcontextprotocol/core':
    'a part of `@modelcontextprotocol/server`, asked for so that it can be loaded in a turn of the event loop of its own',
  '@modelcontextprotocol/server': 'speaks the Model Context Protocol with AI agents',
  aedes: 'the MQTT broker, embedded; pinned, because private parts of it are guarded by tests',
  'aedes-persistence': "the interface of the broker's persistence, and its public test suite; pinned with it",
  'better-sqlite3': 'the database: synchronous, prebuilt, one writer',
  commander: 'the command line, with help and completion as people know them',
  fastify: 'HTTP for health, metrics and the upgrade to MQTT over WebSocket',
  mqtt: 'the MQTT client of the command line; pinned with the broker',
  'mqtt-packet':
    'a part of `aedes` and `mqtt`, asked for so that it makes no table of numbers in a turn of 0.1 s; pinned with the broker',
  pg: 'speaks to PostgreSQL, loaded for a store there alone (decision 0012)',
  pino: 'the log, as JSON lines',
  'pino-pretty': 'the log for people on a terminal',
  'prom-client': 'metrics in the form of Prometheus',
  qlobber: "the trie that finds the stored sessions of a topic, as the broker's own persistence does",
  uqr: 'QR codes of `node provision --qr`, loaded for that alone',
  ws: 'MQTT over WebSocket',
  yaml: 'the configuration file, with the line of each mistake',
  zod: 'checks of everything that comes from outside; the documents are made from the same schemas',
}

/** Why each development dependency is there: what the tests, the checks and the builds are made with. */
const DEVELOPMENT_REASONS: Readonly<Record<string, string>> = {
  '@anthropic-ai/mcpb':
    'the official unpacker and validator of MCP bundles, for the one that `npm run package` makes',
  '@asyncapi/specs': 'the published schema of AsyncAPI 3, which docs/asyncapi.yaml is checked with',
  '@biomejs/biome': 'the linter and formatter; pinned, because a newer one formats otherwise',
  '@micropython/micropython-webassembly-pyscript':
    'the MicroPython interpreter as WebAssembly: the example for MicroPython runs in it',
  '@modelcontextprotocol/client': 'the official MCP client, which the tests of the MCP server use',
  '@modelcontextprotocol/conformance': 'the official conformance scenarios of MCP',
  '@seriousme/openapi-schema-validator':
    'the published schema of OpenAPI 3.1, which docs/openapi.json is checked with',
  '@types/better-sqlite3': 'types',
  '@types/node': 'types',
  '@types/pg': 'types',
  '@types/ws': 'types',
  ajv: 'a JSON Schema validator, for documents that the code makes',
  'ajv-formats': 'the formats of JSON Schema, for it',
  'fast-check': 'property tests: inputs that nobody thought of',
  node: 'the Node that the bridge runs on, whatever the machine has (decision 0005)',
  rolldown: 'builds `limb-bridge-client` (decision 0011)',
  typescript: 'the compiler, which checks the types',
  vitest: 'runs the tests',
  // Of the console's workspace:
  'axe-core': 'finds faults of accessibility in the pages of the console',
  mqtt: "the console's MQTT over WebSocket, built into its page",
  'playwright-core': "drives Debian's Chromium in the tests of the console; it brings no browser",
  preact: 'the components of the console (decision 0006)',
  uqr: 'the QR code of the first device in the console',
  vite: 'builds the console',
  zod: "the protocol's schemas, in the console too",
}

const read = <T>(name: string) => JSON.parse(readFileSync(join(ROOT, name), 'utf8')) as T

export function manifest(): Manifest {
  return read<Manifest>('package.json')
}

export function lockfile(): Readonly<Record<string, Locked>> {
  return read<{ packages: Readonly<Record<string, Locked>> }>('package-lock.json').packages
}

/** Packages that are installed without the development dependencies. */
export function runtimePackages(): readonly (readonly [name: string, locked: Locked])[] {
  return Object.entries(lockfile())
    .filter(([path, locked]) => path.includes('node_modules/') && locked.dev !== true && locked.link !== true)
    .map(([path, locked]) => [nameOf(path), locked])
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}

/** Where Node finds `name` from a package at `from`: in the nearest node_modules upwards. */
function resolve(packages: Readonly<Record<string, Locked>>, from: string, name: string): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const path = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`
    if (packages[path] !== undefined) return path
    if (folder === '' || !folder.includes('node_modules')) {
      return packages[`node_modules/${name}`] && `node_modules/${name}`
    }
  }
}

/** Everything that comes with a package, itself left out. */
function comesWith(packages: Readonly<Record<string, Locked>>, path: string): ReadonlySet<string> {
  const seen = new Set<string>()
  const visit = (from: string) => {
    const { dependencies = {}, optionalDependencies = {} } = packages[from] ?? {}
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const found = resolve(packages, from, name)
      if (found === undefined || found === path || seen.has(found)) continue
      seen.add(found)
      visit(found)
    }
  }
  visit(path)
  return seen
}

function reasonOf(name: string, reasons: Readonly<Record<string, string>>): string {
  const reason = reasons[name]
  if (reason === undefined) throw new Error(`scripts/dependencies.ts: say why ${name} is there`)
  return reason
}

function rowOf(name: string, reason: string): string {
  const packages = lockfile()
  const path = `node_modules/${name}`
  const { version = '?', license = '?' } = packages[path] ?? {}
  return `| \`${name}\` | ${version} | ${license} | ${comesWith(packages, path).size} | ${reason} |`
}

/** What the client for limbs asks for, and how many packages come with it. */
function clientLines(): readonly string[] {
  const packages = lockfile()
  const asked = Object.keys(read<Manifest>('packages/limb-bridge-client/package.json').dependencies)
  const all = new Set(asked.flatMap((name) => [...comesWith(packages, `node_modules/${name}`)]))
  for (const name of asked) all.add(`node_modules/${name}`)
  return [
    '## limb-bridge-client',
    '',
    `The npm package for devices asks for ${asked.map((name) => `\`${name}\``).join(' and ')} alone, in the versions above: ${all.size} packages`,
    'with all that they bring, none of them compiled. A camera once had to install the whole bridge for it',
    '([decision 0011](decisions/0011-limb-bridge-client.md)). `test/makers/client-package.test.ts` installs it into an empty folder.',
    '',
  ]
}

export function dependenciesMarkdown(): string {
  const { dependencies, devDependencies } = manifest()
  const rows = Object.keys(dependencies).map((name) => rowOf(name, reasonOf(name, REASONS)))
  const ofConsole = read<Manifest>('console/package.json').devDependencies
  const asked = Object.keys({ ...devDependencies, ...ofConsole }).toSorted()
  const tools = asked.map((name) => rowOf(name, reasonOf(name, DEVELOPMENT_REASONS)))
  const runtime = runtimePackages()
  const licenses = new Map<string, number>()
  for (const [, { license = 'unknown' }] of runtime) licenses.set(license, (licenses.get(license) ?? 0) + 1)
  const listed = [...licenses].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
  return [
    '# Dependencies',
    '',
    '<!-- Made from package.json and package-lock.json by `npm run docs`; edits here are lost. -->',
    '',
    `What runs with the bridge: ${rows.length} packages are asked for, and ${runtime.length} are installed with all that`,
    'they bring. Development dependencies (tests, checks, types) are not among them. The lockfile pins each of them with',
    'its checksum; `npm ci` installs exactly these. `aedes` and what speaks its private language are pinned exactly in',
    '`package.json` too, and `test/broker/aedes-internals.test.ts` fails when an upgrade moves what the bridge relies on.',
    '',
    '| package | version | licence | brings | why |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
    ...clientLines(),
    '## What is left, and why',
    '',
    '- `@modelcontextprotocol/server` is loaded by `limb-bridge mcp`, and by the service with the first request of `/mcp`; a test looks at what a',
    '  running service has loaded. Its predecessor, `@modelcontextprotocol/sdk`, brought two web frameworks for transports',
    '  that the bridge does not use, 97 packages in all.',
    '- `mqtt` is loaded by the command line, by the client for limbs and by an uplink, never by a service without uplinks.',
    '  It brings a command line of its own (`commist`, `concat-stream`, `help-me`, `minimist`, `split2`) that nothing loads,',
    '  and timers for browsers (`worker-timers` and what it brings), which its main module loads in Node too and which make',
    '  no worker there. They cannot be left out of an installation by npm without changing the package; the Debian package',
    '  leaves out the command line, the browser bundle and the packages that only these use.',
    '- `socks`, `ip-address` and `smart-buffer` are loaded by `mqtt` only for a `socks:` proxy, which the bridge never names.',
    '- `readable-stream`, `bl` and `mqtt-packet` are shared by `mqtt` and `aedes`.',
    '',
    '## Development',
    '',
    'These are for tests, checks and builds, those of the console among them, and come with no installation.',
    '',
    '| package | version | licence | brings | why |',
    '| --- | --- | --- | --- | --- |',
    ...tools,
    '',
    '## Licences',
    '',
    'All of them allow use, change and passing on, in closed products too. A test fails when another one comes in.',
    '',
    '| licence | packages |',
    '| --- | --- |',
    ...listed.map(([license, count]) => `| ${license} | ${count} |`),
    '',
    '## Known holes',
    '',
    '`npm audit --omit=dev` asks the registry for advisories; a test does it where the registry answers, and says so where',
    'it does not.',
    '',
  ].join('\n')
}
