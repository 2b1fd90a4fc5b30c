import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { REGISTRATION, startApp, type TestApp } from '../support/app.ts'
import type { Loose, TestClient } from '../support/client.ts'
import { Command } from '../support/command.ts'
import { skipWithout } from '../support/needs.ts'
import { agent } from '../support/worker.ts'

/** The examples as a reader runs them: each pairs, comes online, and does what it is invoked for. */

const EXAMPLES = resolve(import.meta.dirname, '../../examples')

let app: TestApp & AsyncDisposable
let admin: TestClient
let ann: TestClient
let folder: string

beforeEach(async () => {
  app = await startApp()
  admin = await app.admin()
  ann = await agent(app, 'ann')
  await admin.subscribe(['limb/bridge/pairing/+', 'limb/node/+/status'])
  folder = mkdtempSync(join(tmpdir(), 'limb-examples-'))
})
afterEach(async () => {
  await app[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

/** In a folder of its own, in a group of its own: what it starts in the background ends with it. */
const run = (file: string, ...args: string[]) =>
  new Command('/bin/sh', ['-c', 'cd "$0" && exec "$@"', folder, file, ...args], {}, true)

/** Approves the example when it has shown the code that the bridge has. */
async function pair(example: Command, nodeId: string): Promise<void> {
  const { json } = await admin.next((message) => message.json.nodeId === nodeId)
  await example.line(new RegExp(json.code))
  await admin.do('admin', 'pairing/approve', { requestId: json.requestId })
  await admin.next((message) => message.topic.endsWith('/status') && message.text === 'online')
}

async function invoke(nodeId: string, command: string, params: Loose = {}): Promise<Loose> {
  return await ann.ask('ann', 'invoke', { nodeId, command, params })
}

test('the example in TypeScript and its page say the command that is run here', () => {
  const command = 'npx node --conditions=source examples/typescript/camera.ts'
  for (const page of ['typescript/camera.ts', '../docs/devices.md'])
    expect(readFileSync(join(EXAMPLES, page), 'utf8')).toContain(command)
})

test('TypeScript', async () => {
  const url = `mqtt://127.0.0.1:${app.bridge.mqtt.port}`
  const camera = join(EXAMPLES, 'typescript/camera.ts')
  await using example = run(process.execPath, '--conditions=source', camera, url, 'cam1')
  await pair(example, 'cam1')
  expect((await invoke('cam1', 'lens.zoom', { factor: 3 })).data.data).toEqual({ zoom: 3 })
  expect((await invoke('cam1', 'camera.snap')).data.data).toMatchObject({
    zoom: 3,
    picture: { mimeType: 'image/png' },
  })
  expect((await invoke('cam1', 'lens.zoom', { factor: 99 })).error.message).toContain('from 1 to 8')
  expect(statSync(join(folder, 'cam1.key')).mode & 0o777).toBe(0o600)
})

test('Python with paho', async (context) => {
  skipWithout(context, 'paho')
  const { port } = app.bridge.mqtt
  const sensor = join(EXAMPLES, 'python/sensor.py')
  await using example = run('/usr/bin/python3', sensor, '127.0.0.1', String(port), 'sensor1')
  await pair(example, 'sensor1')
  expect((await invoke('sensor1', 'temperature.read', { unit: 'kelvin' })).data.data).toEqual({
    temperature: 294.65,
    unit: 'kelvin',
  })
  expect((await invoke('sensor1', 'temperature.read', { unit: 'furlong' })).error.message).toContain(
    'unit must',
  )
  expect(statSync(join(folder, 'sensor1.key')).mode & 0o777).toBe(0o600)

  await app.restart()
  const again = await app.admin()
  await again.subscribe('limb/node/+/status')
  await again.next((message) => message.text === 'online')
})

test.for(['typescript', 'python', 'shell'] as const)(
  'the example in %s prints why its registration is not taken, and is taken when it may be',
  async (language, context) => {
    if (language === 'python') skipWithout(context, 'paho')
    if (language === 'shell') skipWithout(context, 'mosquitto-clients', 'jq')
    // So few may wait that the first one fills the place.
    await app.restart({ pairing: { maxPending: 1 } })
    const other = await app.device('other', 'k'.repeat(30))
    await other.subscribe('limb/node/other/pairing')
    await other.publish('limb/node/other/register', REGISTRATION)
    const { json } = await other.next('limb/node/other/pairing')
    const { port } = app.bridge.mqtt
    const example = {
      typescript: () =>
        run(
          process.execPath,
          '--conditions=source',
          join(EXAMPLES, 'typescript/camera.ts'),
          `mqtt://127.0.0.1:${port}`,
          'x1',
        ),
      python: () =>
        run('/usr/bin/python3', join(EXAMPLES, 'python/sensor.py'), '127.0.0.1', String(port), 'x1'),
      shell: () => run(join(EXAMPLES, 'shell/lamp.sh'), '127.0.0.1', String(port), 'x1'),
    }[language]
    await using limb = example()
    await limb.line(/1 requests are pending already/)
    const again = await app.admin()
    await again.do('admin', 'pairing/reject', { requestId: json.requestId })
    await limb.line(/[BCDFGHJKLMNPQRSTVWXZ]{8}/)
  },
)

test('shell with mosquitto', async (context) => {
  skipWithout(context, 'mosquitto-clients', 'jq')
  const { port } = app.bridge.mqtt
  await using example = run(join(EXAMPLES, 'shell/lamp.sh'), '127.0.0.1', String(port), 'lamp1')
  await pair(example, 'lamp1')
  const on = async (params: Loose): Promise<Loose> => {
    let answer = await invoke('lamp1', 'lamp.set', params)
    // Between two of its connections it is offline for a moment, as it says.
    while (answer.error?.code === 'node_offline') {
      await admin.next((message) => message.topic.endsWith('/status') && message.text === 'online')
      answer = await invoke('lamp1', 'lamp.set', params)
    }
    return answer
  }
  expect((await on({ on: true })).data.data).toEqual({ on: true })
  expect((await on({ on: 'perhaps' })).error.message).toContain('true or false')
  expect(statSync(join(folder, 'lamp1.limb/key')).mode & 0o777).toBe(0o600)
})
