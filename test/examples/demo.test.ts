import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Loose } from '../support/client.ts'
import { patience } from '../support/patience.ts'

/** `npm run demo` as a person starts it: twenty devices, of which each does what it is there to show. */

const DEMO = join(import.meta.dirname, '../../scripts/demo.ts')
const AUTHORIZATION = `Basic ${Buffer.from('admin:demo-password').toString('base64')}`
const BULB = 'z2m-zigbee2mqtt_0x000b57fffec6a5b2'

let demo: ChildProcessByStdio<null, Readable, null>
let url = ''

beforeAll(async () => {
  const env = { ...process.env, LIMB_MQTT_PORT: '0', LIMB_HTTP_PORT: '0' }
  demo = spawn(process.execPath, [DEMO], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  for await (const line of createInterface({ input: demo.stdout })) {
    url = /http:\/\/\S+/.exec(line)?.[0] ?? ''
    if (url !== '') break
  }
  demo.stdout.resume()
}, patience(60_000))
afterAll(async () => {
  if (demo.exitCode !== null) return
  demo.kill('SIGKILL')
  await once(demo, 'exit')
})

async function ask(verb: string, args: object = {}): Promise<Loose> {
  const response = await fetch(`${url}api/v1/${verb}`, {
    method: 'POST',
    headers: { authorization: AUTHORIZATION, 'content-type': 'application/json' },
    body: JSON.stringify(args),
  })
  return await response.json()
}

const poll = <T>(look: () => Promise<T>) => expect.poll(look, { timeout: patience(30_000) })
const statusOf = async (nodeId: string) => (await ask('node/get', { nodeId })).status
const invoke = async (nodeId: string, command: string, params: object = {}) =>
  await ask('invoke', { nodeId, command, params })

test('eighteen devices are there, and two ask to be paired', { timeout: patience(60_000) }, async () => {
  await poll(async () => (await ask('node/list')).items.length).toBe(18)
  await poll(async () => (await ask('pairing/list')).items.map(({ nodeId }: Loose) => nodeId).sort()).toEqual(
    ['cam2', 'cam3'],
  )
})

test('a lamp, a blind, a plug with Tasmota and a bulb of Zigbee do what they are asked for', {
  timeout: patience(120_000),
}, async () => {
  for (const nodeId of ['lamp1', 'blind1', 'plug1', BULB]) await poll(() => statusOf(nodeId)).toBe('online')
  expect((await invoke('lamp1', 'light.set', { brightness: 7 })).data).toMatchObject({ brightness: 7 })
  expect((await invoke('blind1', 'blind.set', { position: 30 })).data).toEqual({ position: 30 })
  expect((await invoke('blind1', 'blind.open')).data).toEqual({ position: 100 })
  expect((await invoke('plug1', 'power1.set', { on: false })).data).toEqual({ POWER: 'OFF' })
  expect((await invoke('plug1', 'power1.toggle')).data).toEqual({ POWER: 'ON' })
  const { data } = await invoke(BULB, 'bulb.set', { on: true, brightness: 20 })
  expect(JSON.parse(data.published[0].payload)).toEqual({ state: 'ON', brightness: 20 })
  const { description } = await ask('node/get', { nodeId: 'plug1' })
  expect(description.properties.map(({ name }: Loose) => name)).toContain('energy_power')
})

test('a camera draws a picture, and a lock waits for a person', { timeout: patience(60_000) }, async () => {
  await poll(() => statusOf('cam1')).toBe('online')
  const { data } = await invoke('cam1', 'camera.snap')
  expect(Buffer.from(data.picture.base64, 'base64').subarray(1, 4).toString()).toBe('PNG')
  const opened = invoke('door1', 'lock.open', { seconds: 12 })
  let invocationId = ''
  await poll(async () => {
    const { items } = await ask('invocation/list', { state: 'waiting' })
    invocationId = items.find(
      (each: Loose) => each.nodeId === 'door1' && each.principal === 'admin',
    )?.invocationId
    return typeof invocationId
  }).toBe('string')
  await ask('invocation/approve', { invocationId })
  expect(await opened).toMatchObject({ nodeId: 'door1' })
})

test('a thermometer sleeps, and is measured when it wakes', { timeout: patience(90_000) }, async () => {
  await poll(() => statusOf('thermo1')).toBe('asleep')
  const { lastHeartbeatAt } = await ask('node/get', { nodeId: 'thermo1' })
  await poll(async () => (await ask('node/get', { nodeId: 'thermo1' })).lastHeartbeatAt).not.toBe(
    lastHeartbeatAt,
  )
})

test('it ends when it is asked to', { timeout: patience(30_000) }, async () => {
  demo.kill('SIGTERM')
  expect(await once(demo, 'exit')).toEqual([0, null])
})
