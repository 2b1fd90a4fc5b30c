import { resolve } from 'node:path'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import type { Loose, TestClient } from '../support/client.ts'
import { patience } from '../support/patience.ts'

/** Limbs as resources, and their descriptions as a tool, over standard input and output. */

const MAIN = resolve(import.meta.dirname, '../../src/main.ts')
const LAMP = {
  displayName: 'Lamp',
  platform: 'esp32',
  capabilities: [
    {
      cap: 'light',
      commands: [
        {
          name: 'lamp.set',
          title: 'Set the lamp',
          input: {
            type: 'object',
            properties: { brightness: { type: 'integer', minimum: 0, maximum: 100 } },
            required: ['brightness'],
          },
          idempotent: true,
        },
        { name: 'lamp.read', safe: true, output: { type: 'object' } },
        'lamp.blink',
      ],
      authLevel: 'free',
    },
  ],
}

let app: TestApp & AsyncDisposable
let lamp: TestClient
const clients: Client[] = []

beforeEach(async () => {
  app = await startApp({}, { memory: true })
  lamp = await app.limb('lamp1', LAMP)
  await lamp.subscribe('limb/node/lamp1/invoke')
  await lamp.publish('limb/node/lamp1/heartbeat')
  await lamp.settle()
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  await app[Symbol.asyncDispose]()
})

async function connected(options: Loose = {}): Promise<{ client: Client; told: Loose[] }> {
  const client = new Client({ name: 'test', version: '1' }, options)
  clients.push(client)
  const told: Loose[] = []
  client.setNotificationHandler('notifications/resources/updated', (each) => void told.push(each.params))
  client.setNotificationHandler('notifications/resources/list_changed', () => void told.push({ list: true }))
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [MAIN, 'mcp', '--socket', app.bridge.control],
      env: {},
    }),
  )
  return { client, told }
}

const until = (look: () => unknown) => expect.poll(look, { timeout: patience(20_000), interval: 20 })

test('limb_describe shows each command with its schemas and what it does, as MCP says it of tools', async () => {
  const { client } = await connected()
  const { structuredContent } = await client.callTool({
    name: 'limb_describe',
    arguments: { nodeId: 'lamp1' },
  })
  const { deviceText, nodeId, status } = structuredContent as Loose
  const { commands } = deviceText
  expect({ nodeId, status }).toEqual({ nodeId: 'lamp1', status: 'online' })
  expect(commands).toEqual([
    {
      name: 'lamp.set',
      title: 'Set the lamp',
      capability: 'light',
      available: true,
      inputSchema: LAMP.capabilities[0]?.commands[0] && {
        type: 'object',
        properties: { brightness: { type: 'integer', minimum: 0, maximum: 100 } },
        required: ['brightness'],
      },
      annotations: { readOnlyHint: false, idempotentHint: true, destructiveHint: true },
    },
    {
      name: 'lamp.read',
      capability: 'light',
      available: true,
      inputSchema: { type: 'object' },
      outputSchema: { type: 'object' },
      annotations: { readOnlyHint: true, idempotentHint: true, destructiveHint: false },
    },
    {
      name: 'lamp.blink',
      capability: 'light',
      available: true,
      inputSchema: { type: 'object' },
      annotations: { readOnlyHint: false, idempotentHint: false, destructiveHint: true },
    },
  ])
})

test('limb_invoke names the place in the schema that params do not fit, and where to look', async () => {
  const { client } = await connected()
  const result = await client.callTool({
    name: 'limb_invoke',
    arguments: { nodeId: 'lamp1', command: 'lamp.set', params: { brightness: 400 } },
  })
  const [first] = result.content as { text: string }[]
  expect(result.isError).toBe(true)
  expect(JSON.parse(first?.text ?? '')).toMatchObject({
    code: 'invalid_request',
    path: 'params.brightness',
    next: expect.stringContaining('limb_describe'),
  })
})

test('limbs are resources, page by page, each with its state and description', async () => {
  const admin = await app.admin()
  const nodes = Array.from({ length: 130 }, (_, n) => ({ nodeId: `n${String(n).padStart(3, '0')}` }))
  for (const node of nodes) await admin.do('admin', 'node/provision', node)
  const { client } = await connected()
  const { resources } = await client.listResources()
  expect(resources).toHaveLength(131)
  expect(resources[0]).toMatchObject({ uri: 'limb://lamp1', name: 'lamp1' })
  // The name that a device gave itself could not be marked here.
  expect(JSON.stringify(resources)).not.toContain('Lamp')
  const { resourceTemplates } = await client.listResourceTemplates()
  expect(resourceTemplates).toMatchObject([{ uriTemplate: 'limb://{nodeId}' }])
  const { contents } = await client.readResource({ uri: 'limb://lamp1' })
  const [content] = contents as { text: string; mimeType: string }[]
  expect(content?.mimeType).toBe('application/json')
  expect(JSON.parse(content?.text ?? '')).toMatchObject({
    nodeId: 'lamp1',
    status: 'online',
    deviceText: {
      displayName: 'Lamp',
      description: { commands: [{ name: 'lamp.set' }, { name: 'lamp.read' }, { name: 'lamp.blink' }] },
    },
  })
})

test('what is no limb is no resource', async () => {
  const { client } = await connected()
  for (const uri of ['limb://nobody', 'limb://../x', 'limb://', 'file:///etc/passwd', 'limb://lamp1/state']) {
    await expect(client.readResource({ uri }), uri).rejects.toThrow(/not found/i)
    await expect(client.subscribeResource({ uri }), uri).rejects.toThrow(/not found/i)
  }
})

describe.each([
  ['2025-11-25', {}],
  ['2026-07-28', { versionNegotiation: { mode: 'auto' } }],
])('with protocol %s', (version, options) => {
  test('a client is told of changes of the limbs that it follows, and of the list', async () => {
    const { client, told } = await connected(options)
    expect(client.getNegotiatedProtocolVersion()).toBe(version)
    if (version === '2025-11-25') await client.subscribeResource({ uri: 'limb://lamp1' })
    else await client.listen({ resourceSubscriptions: ['limb://lamp1'], resourcesListChanged: true })
    await client.listTools()
    await lamp.publish('limb/node/lamp1/heartbeat', { status: 'busy' })
    await until(() => told.some(({ uri }) => uri === 'limb://lamp1')).toBe(true)
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'other' })
    await until(() => told.some(({ list }) => list)).toBe(true)
    expect(told.every(({ uri }) => uri === undefined || uri === 'limb://lamp1')).toBe(true)
  })
})

test('a client that has unsubscribed is told no more', async () => {
  const { client, told } = await connected()
  const admin = await app.admin()
  await admin.do('admin', 'node/provision', { nodeId: 'other' })
  await client.subscribeResource({ uri: 'limb://lamp1' })
  await client.subscribeResource({ uri: 'limb://other' })
  await client.unsubscribeResource({ uri: 'limb://lamp1' })
  await lamp.publish('limb/node/lamp1/heartbeat', { status: 'busy' })
  await lamp.settle()
  await admin.do('admin', 'node/describe', { nodeId: 'other', description: { model: 'M2' } })
  await until(() => told.some(({ uri }) => uri === 'limb://other')).toBe(true)
  expect(told.some(({ uri }) => uri === 'limb://lamp1')).toBe(false)
})
