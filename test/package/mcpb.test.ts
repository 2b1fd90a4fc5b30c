import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, expect, test } from 'vitest'
import { buildMcpb } from '../../scripts/package/mcpb.ts'
import { writeRegistryEntry } from '../../scripts/package/registry-entry.ts'
import { run } from '../cli/run.ts'
import { startApp } from '../support/app.ts'
import { patience } from '../support/patience.ts'
import { placeholdersIn, registryEntry } from './registry-schema.ts'

/** The bundle for hosts of agents, and the entry of the registry of MCP. */

const ROOT = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'limb-mcpb-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Runs the official tools of the format. */
const mcpb = (...args: string[]) =>
  execFileSync(process.execPath, [join(ROOT, 'node_modules/@anthropic-ai/mcpb/dist/cli/cli.js'), ...args], {
    encoding: 'utf8',
  })

const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))

test('the bundle has all that its manifest starts, and an agent reaches a bridge by it', {
  timeout: patience(180_000),
}, async () => {
  const dist = join(folder, 'dist')
  const tsc = join(ROOT, 'node_modules/.bin/tsc')
  execFileSync(tsc, ['--project', 'tsconfig.build.json', '--outDir', dist], { cwd: ROOT })
  const file = buildMcpb({ version: '1.2.3', outFolder: folder, dist })
  const unpacked = join(folder, 'unpacked')
  mkdirSync(unpacked)
  mcpb('unpack', file, unpacked)
  expect(mcpb('validate', unpacked)).toContain('Manifest schema validation passes!')
  const { server, version, user_config: asked, tools } = read(join(unpacked, 'manifest.json'))
  expect(version).toBe('1.2.3')

  await using app = await startApp()
  const admin = await app.admin()
  const { password } = await admin.do('admin', 'principal/add', { name: 'ann', role: 'operator' })
  const given: Record<string, string> = {
    url: `mqtt://127.0.0.1:${app.bridge.mqtt.port}`,
    user: 'ann',
    password,
  }
  expect(Object.keys(asked).sort()).toEqual(Object.keys(given).sort())
  const filled = (text: string) =>
    text
      .replace(/\$\{__dirname\}/, unpacked)
      .replace(/\$\{user_config\.(\w+)\}/g, (_, name: string) => given[name] ?? '')
  const { args, env } = server.mcp_config as { args: string[]; env: Record<string, string> }
  const client = new Client({ name: 'test', version: '1' })
  const values = Object.entries(env).map(([name, value]) => [name, filled(value)])
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: args.map(filled),
      env: Object.fromEntries(values),
    }),
  )
  try {
    const listed = await client.listTools()
    expect(listed.tools.map(({ name }) => name)).toEqual(tools.map((tool: { name: string }) => tool.name))
  } finally {
    await client.close()
  }
})

test('the entry of the registry is what its schema asks for, of the name and version of the package', () => {
  const { name, version, mcpName } = read(join(ROOT, 'package.json'))
  const entry = registryEntry.parse(read(join(ROOT, 'server.json')))
  expect(entry).toMatchObject({ name: mcpName, version })
  expect(entry.packages).toMatchObject([{ registryType: 'npm', identifier: name, version }])
})

test('the entry beside the packages is of the version that is packed', () => {
  const file = writeRegistryEntry({ version: '1.2.3', outFolder: folder })
  const entry = registryEntry.parse(read(file))
  expect(entry).toMatchObject({
    version: '1.2.3',
    packages: [{ identifier: 'limb-bridge', version: '1.2.3' }],
  })
})

test('what the entry of the registry asks for is what the program and /mcp take', async () => {
  const entry = registryEntry.parse(read(join(ROOT, 'server.json')))
  for (const { url, variables = {}, headers = [] } of entry.remotes ?? []) {
    expect(new URL(url.replace('{bridge}', 'bridge.example:8083')).pathname).toBe('/mcp')
    expect(placeholdersIn(url)).toEqual(Object.keys(variables))
    for (const header of headers)
      expect(placeholdersIn(header.value ?? '')).toEqual(Object.keys(header.variables ?? {}))
  }
  const [{ packageArguments = [], environmentVariables = [] } = {}] = entry.packages ?? []
  const { out: help } = await run(['mcp', '--help'])
  for (const argument of packageArguments)
    if (argument.type === 'named') expect(help).toContain(`${argument.name} `)
  expect(environmentVariables.map(({ name }) => name)).toEqual(['LIMB_URL', 'LIMB_PASSWORD'])
})

test.each([
  ['a name without a namespace', { name: 'limb-bridge' }],
  ['a range as its version', { version: '^0.1.0' }],
  ['a long description', { description: 'x'.repeat(101) }],
  ['a misspelt key', { remote: [] }],
])('an entry with %s is refused', (_what, change) => {
  const entry = { ...read(join(ROOT, 'server.json')), ...change }
  expect(registryEntry.safeParse(entry).success).toBe(false)
})
