import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, expect, test } from 'vitest'
import { buildMcpb } from '../../scripts/package/mcpb.ts'
import { startApp } from '../support/app.ts'
import { patience } from '../support/patience.ts'

/** The bundle for hosts of agents, and the entry of the registry of MCP. */

const ROOT = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'limb-mcpb-'))
afterAll(() => rmSync(folder, { recursive: true }))

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
  execFileSync('python3', ['-m', 'zipfile', '-e', file, unpacked])
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

test('the entry of the registry has the name and the version of the package', () => {
  const { name, version, mcpName } = read(join(ROOT, 'package.json'))
  const entry = read(join(ROOT, 'server.json'))
  expect(entry).toMatchObject({ name: mcpName, version })
  expect(entry.packages).toMatchObject([{ registryType: 'npm', identifier: name, version }])
  // Bounds of the registry's schema.
  expect(entry.name).toMatch(/^[a-zA-Z0-9.-]+\/[a-zA-Z0-9._-]+$/)
  expect(entry.description.length).toBeLessThanOrEqual(100)
})
