import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import mqtt, { type MqttClient } from 'mqtt'
import { afterEach, describe, expect, test } from 'vitest'
import { Command } from '../support/command.ts'
import { needs } from '../support/needs.ts'
import { start } from './fixture.ts'

needs('mosquitto-clients')

const children: ChildProcess[] = []
const clients: MqttClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true)
  for (const child of children.splice(0)) child.kill()
})

/** Runs a Mosquitto client to its end; gives its exit code and what it printed. */
async function run(command: string, port: number, args: string[]): Promise<{ code: number; out: string }> {
  const child = spawn(command, ['-h', '127.0.0.1', '-p', `${port}`, '-V', 'mqttv311', ...args])
  children.push(child)
  let out = ''
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    out += chunk
  })
  const [code] = await once(child, 'close')
  return { code: code as number, out }
}

describe('Mosquitto’s clients', () => {
  test('publish heartbeats and data at every QoS, retained too', async () => {
    const { port, core, connect } = await start()
    for (const qos of ['0', '1', '2']) {
      const who = ['-u', 'cam1', '-P', 'key', '-q', qos]
      const beat = await run('mosquitto_pub', port, [...who, '-t', 'limb/node/cam1/heartbeat', '-n'])
      expect(beat).toEqual({ code: 0, out: '' })
      await run('mosquitto_pub', port, [...who, '-r', '-t', `limb/node/cam1/data/${qos}`, '-m', qos])
    }
    expect(core.heartbeats).toBe(3)
    expect(core.all('closed').every((event) => event.why === 'disconnect')).toBe(true)
    const viewer = await connect({ username: 'viewer' })
    await viewer.subscribe({ 'limb/node/cam1/data/#': 2 })
    const got = [await viewer.message(), await viewer.message(), await viewer.message()]
    expect(got.map((message) => message.text).sort()).toEqual(['0', '1', '2'])
  })

  test('subscribe, get what is retained and what comes, and are told of a refused filter', async () => {
    const { port, owned, broker } = await start()
    owned.set('limb/node/cam1/status', 'offline')
    const options = ['-h', '127.0.0.1', '-p', `${port}`, '-V', 'mqttv311', '-u', 'viewer']
    const watching = [...options, '-t', 'limb/node/+/status', '-C', '2', '-F', '%r %t %p']
    await using sub = new Command('mosquitto_sub', watching)
    await sub.line('1 limb/node/cam1/status offline')
    owned.set('limb/node/cam1/status', 'online')
    broker.publisher.publish('limb/node/cam1/status', Buffer.from('online'), { qos: 1, retain: true })
    await sub.line('0 limb/node/cam1/status online')
    expect(await sub.ended).toBe(0)
    const refused = await run('mosquitto_sub', port, ['-u', 'viewer', '-t', 'limb/node/+/invoke', '-W', '60'])
    expect(refused.out).toMatch(/All subscription requests were denied/)
  })

  test('are told why they may not connect', async () => {
    const { port } = await start()
    const { code, out } = await run('mosquitto_pub', port, ['-u', 'cam1', '-P', 'wrong', '-t', 'a', '-n'])
    expect(code).toBe(4)
    expect(out).toMatch(/bad user name or password/)
  })

  test('keep a stored session', async () => {
    const { port, broker, core } = await start()
    const who = ['-u', 'viewer', '-i', 'stored', '-c', '-q', '1', '-t', 'limb/bridge/#']
    expect((await run('mosquitto_sub', port, [...who, '-E'])).code).toBe(0)
    await core.until('closed')
    for (const text of ['a', 'b', 'c']) {
      broker.publisher.publish('limb/bridge/status', Buffer.from(text), { qos: 1, retain: true })
    }
    expect(await run('mosquitto_sub', port, [...who, '-C', '3'])).toEqual({ code: 0, out: 'a\nb\nc\n' })
  })
})

describe('mqtt.js', () => {
  async function js(port: number, options: mqtt.IClientOptions): Promise<MqttClient> {
    const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options })
    clients.push(client)
    client.on('error', () => undefined)
    await new Promise<void>((resolve) => {
      client.once('connect', () => resolve())
      client.once('close', () => resolve())
    })
    return client
  }

  test('exchanges messages at every QoS', async () => {
    const { port } = await start()
    const limb = await js(port, { username: 'cam1', password: 'key' })
    const viewer = await js(port, { username: 'viewer' })
    await viewer.subscribeAsync('limb/node/+/data/#', { qos: 2 })
    const got: string[] = []
    const all = new Promise<void>((resolve) => {
      viewer.on('message', (topic, payload, packet) => {
        got.push(`${topic} ${payload} ${packet.qos}`)
        if (got.length === 300) resolve()
      })
    })
    for (let i = 0; i < 300; i++)
      void limb.publishAsync('limb/node/cam1/data/x', `${i}`, { qos: (i % 3) as 0 | 1 | 2 })
    await all
    expect(got.length).toBe(new Set(got).size)
    for (const qos of [0, 1, 2]) {
      const mine = got.filter((line) => line.endsWith(` ${qos}`)).map((line) => Number(line.split(' ')[1]))
      expect(mine).toEqual(Array.from({ length: 100 }, (_, i) => i * 3 + qos))
    }
  })

  test('of MQTT 5 is told when the version is not spoken here', async () => {
    const { port } = await start({ limits: { versions: [3, 4] } })
    const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, protocolVersion: 5 })
    clients.push(client)
    const error = await new Promise((resolve) => client.once('error', resolve))
    expect(String(error)).toMatch(/protocol version/i)
  })
})
