import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import mqtt, { type IClientOptions, type IConnackPacket, type MqttClient } from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { temporaryFile } from '../store/fixture.ts'

interface Running {
  readonly child: ChildProcess
  readonly url: string
  /** The topics of messages that are kept. */
  readonly kept: string[]
  until(count: number): Promise<void>
}

async function start(file: string): Promise<Running> {
  const script = fileURLToPath(new URL('persistence-broker.ts', import.meta.url))
  const child = spawn(process.execPath, [script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  const lines = createInterface({ input: child.stdout })
  const [port] = await once(lines, 'line')
  const kept: string[] = []
  lines.on('line', (topic: string) => kept.push(topic))
  return {
    child,
    url: `mqtt://127.0.0.1:${port}`,
    kept,
    async until(count) {
      while (kept.length < count) await once(lines, 'line')
    },
  }
}

function connect(url: string, options: IClientOptions): MqttClient {
  const client = mqtt.connect(url, { reconnectPeriod: 0, ...options })
  client.on('error', () => {})
  onTestFinished(() => {
    client.end(true)
  })
  return client
}

function connected(client: MqttClient): Promise<IConnackPacket> {
  return new Promise((resolve) => client.once('connect', resolve))
}

async function collect(client: MqttClient, count: number): Promise<string[]> {
  const found: string[] = []
  await new Promise<void>((resolve) => {
    client.on('message', (topic, payload, packet) => {
      found.push(`${topic}=${payload} qos ${packet.qos}${packet.retain ? ' retained' : ''}`)
      if (found.length === count) resolve()
    })
  })
  return found
}

test('sessions, subscriptions, queues and retained messages survive kill -9', async () => {
  const file = temporaryFile()
  const first = await start(file)
  const reader = connect(first.url, { clientId: 'reader', clean: false })
  await connected(reader)
  await reader.subscribeAsync({ 'a/#': { qos: 2 }, 'b/+': { qos: 1 }, gone: { qos: 1 } })
  await reader.unsubscribeAsync('gone')
  await reader.endAsync()

  const writer = connect(first.url, { clientId: 'writer' })
  await connected(writer)
  for (const [topic, qos, retain] of [
    ['a/1', 1, false],
    ['a/2', 2, false],
    ['b/', 2, false],
    ['gone', 1, false],
    ['r/1', 1, true],
    ['r/2', 1, true],
    ['r/2', 1, true],
  ] as const) {
    await writer.publishAsync(topic, `payload of ${topic}`, { qos, retain })
  }
  // An empty payload takes the retained message away.
  await writer.publishAsync('r/1', '', { qos: 1, retain: true })
  await first.until(8)
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')

  const second = await start(file)
  const again = connect(second.url, { clientId: 'reader', clean: false })
  const queued = collect(again, 3)
  const connack = await connected(again)
  expect(connack).toMatchObject({ sessionPresent: true })
  // mqtt.js shows a message of QoS 2 only after its PUBREL.
  expect((await queued).sort()).toEqual([
    'a/1=payload of a/1 qos 1',
    'a/2=payload of a/2 qos 2',
    'b/=payload of b/ qos 1',
  ])

  const late = connect(second.url, { clientId: 'late' })
  await connected(late)
  const retained = collect(late, 1)
  await late.subscribeAsync('r/#', { qos: 1 })
  expect(await retained).toEqual(['r/2=payload of r/2 qos 1 retained'])
})

test('a message that was sent and not acknowledged is sent again under its identifier after kill -9', async () => {
  const file = temporaryFile()
  const first = await start(file)
  const reader = connect(first.url, { clientId: 'reader', clean: false })
  await connected(reader)
  await reader.subscribeAsync('a', { qos: 2 })
  const identifiers: (number | undefined)[] = []
  const seen = new Promise<void>((resolve) => {
    reader.on('packetreceive', (packet) => {
      if (packet.cmd !== 'publish') return
      identifiers.push(packet.messageId)
      // Gone before it can acknowledge.
      reader.stream.destroy()
      resolve()
    })
  })
  const writer = connect(first.url, { clientId: 'writer' })
  await connected(writer)
  await writer.publishAsync('a', 'x', { qos: 2 })
  await seen
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')

  const second = await start(file)
  const again = connect(second.url, { clientId: 'reader', clean: false })
  const redelivered = new Promise<number | undefined>((resolve) => {
    again.on('packetreceive', (packet) => {
      if (packet.cmd === 'publish') resolve(packet.messageId)
    })
  })
  expect(await redelivered).toBe(identifiers[0])
})
