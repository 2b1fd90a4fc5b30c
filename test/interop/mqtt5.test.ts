import { join } from 'node:path'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startApp } from '../support/app.ts'
import { Command } from '../support/command.ts'
import { NOT_TO_BE_HAD, needs, skipAll } from '../support/needs.ts'
import { paho2 } from '../support/paho-2.ts'
import { patience } from '../support/patience.ts'

needs('mosquitto-clients', 'paho')

/** Clients of MQTT 5 that people have: each feature as they use it. */

type App = Awaited<ReturnType<typeof startApp>>
const GRANTS = [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }]
const PASSWORD = 'a-password-of-ann'

/** A bridge with a principal that may publish and read `t/#`. */
async function withAnn(): Promise<App> {
  const app = await startApp({ mqtt: { grants: GRANTS } })
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'ann', role: 'operator', password: PASSWORD })
  return app
}

// What they print is read line by line, so it must not wait in a buffer: hence `stdbuf`.
const argumentsOf = (app: App) => [
  '-h',
  '127.0.0.1',
  '-p',
  String(app.bridge.mqtt.port),
  '-V',
  '5',
  '-u',
  'ann',
  '-P',
  PASSWORD,
]

async function ann(app: App, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await connectAsync(`mqtt://127.0.0.1:${app.bridge.mqtt.port}`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    username: 'ann',
    password: PASSWORD,
    ...options,
  })
  onTestFinished(() => void client.end(true))
  return client
}

describe('Mosquitto’s clients with -V 5', () => {
  it('read user properties, content type, expiry and response topic as they were published', async () => {
    await using app = await withAnn()
    const sub = new Command('stdbuf', [
      '-oL',
      'mosquitto_sub',
      ...argumentsOf(app),
      '-t',
      't/x',
      '-C',
      '1',
      '-F',
      '%p %C %E %P %R',
      '-q',
      '1',
      '-d',
    ])
    await sub.line(/SUBACK/)
    const properties = [
      ['content-type', 'text/plain'],
      ['message-expiry-interval', '100'],
      ['response-topic', 't/answer'],
    ].flatMap(([name = '', value = '']) => ['-D', 'publish', name, value])
    const user = ['-D', 'publish', 'user-property', 'k', 'v']
    const pub = new Command('stdbuf', [
      '-oL',
      'mosquitto_pub',
      ...argumentsOf(app),
      '-t',
      't/x',
      '-m',
      'hello',
      '-q',
      '1',
      ...properties,
      ...user,
    ])
    expect(await pub.ended).toBe(0)
    expect(await sub.line(/^hello/)).toMatch(/^hello text\/plain (99|100) k:v t\/answer$/)
  })

  it('keep a session for as long as they ask', async () => {
    await using app = await withAnn()
    const session = ['-i', 'stored', '-c', '-x', '300', '-q', '1', '-t', 't/x']
    expect(
      await new Command('stdbuf', ['-oL', 'mosquitto_sub', ...argumentsOf(app), ...session, '-E']).ended,
    ).toBe(0)
    const pub = new Command('stdbuf', [
      '-oL',
      'mosquitto_pub',
      ...argumentsOf(app),
      '-q',
      '1',
      '-t',
      't/x',
      '-m',
      'kept',
    ])
    expect(await pub.ended).toBe(0)
    const back = new Command('stdbuf', ['-oL', 'mosquitto_sub', ...argumentsOf(app), ...session, '-C', '1'])
    expect(await back.line(/kept/)).toBe('kept')
  })

  it('are told why a message is denied', async () => {
    await using app = await withAnn()
    const args = [...argumentsOf(app), '-q', '1', '-t', 'elsewhere', '-m', 'x', '-d']
    await using pub = new Command('stdbuf', ['-oL', 'mosquitto_pub', ...args])
    expect(await pub.line(/received PUBACK/)).toMatch(/received PUBACK \(Mid: 1, RC:135\)/)
    expect(await pub.line(/failed/)).toBe('Warning: Publish 1 failed: Not authorized.')
    // The reason string: who may do what, and what to do about it.
    expect(await pub.line(/mqtt\.grants/)).toMatch(/^ann \(operator\) may publish .*mqtt\.grants can add/)
    await pub.ended
    const denied = app.logLines.find(({ msg }) => String(msg).startsWith('publish to elsewhere denied'))
    expect(denied).toMatchObject({ principal: 'ann', topic: 'elsewhere', version: '5' })
  })

  it('are told why a subscription is denied, and the other one stands', async () => {
    await using app = await withAnn()
    const args = [...argumentsOf(app), '-q', '1', '-t', 'limb/node/+/invoke', '-t', 't/x', '-d']
    await using sub = new Command('stdbuf', ['-oL', 'mosquitto_sub', ...args])
    expect(await sub.line(/^Subscribed/)).toMatch(/: 135, 1$/)
    const sender = await ann(app)
    await sender.publishAsync('t/x', 'here', { qos: 1 })
    expect(await sub.line('here')).toBe('here')
  })

  it('are told at CONNECT why they are not let in', async () => {
    await using app = await withAnn()
    const args = argumentsOf(app).map((each) => (each === PASSWORD ? 'a-wrong-password' : each))
    await using pub = new Command('stdbuf', ['-oL', 'mosquitto_pub', ...args, '-t', 't/x', '-m', 'x', '-d'])
    expect(await pub.line(/CONNACK/)).toMatch(/received CONNACK \(134\)/)
    expect(await pub.ended).not.toBe(0)
  })

  it('share a subscription', async () => {
    await using app = await withAnn()
    const args = ['-q', '1', '-t', '$share/g/t/x', '-d']
    const workers = [1, 2].map(
      () => new Command('stdbuf', ['-oL', 'mosquitto_sub', ...argumentsOf(app), ...args]),
    )
    for (const worker of workers) await worker.line(/SUBACK/)
    const sender = await ann(app)
    for (const text of ['a', 'b', 'c', 'd']) await sender.publishAsync('t/x', text, { qos: 1 })
    // Who acknowledges sooner gets more; the second message goes to the one that has not had the first.
    const got = () => workers.map(({ lines }) => lines.filter((line) => /^[a-d]$/.test(line)))
    await expect
      .poll(() => got().flat().toSorted(), { timeout: patience(20_000) })
      .toEqual(['a', 'b', 'c', 'd'])
    expect(got().map(({ length }) => length > 0)).toEqual([true, true])
    for (const worker of workers) await worker[Symbol.asyncDispose]()
  })
})

const PYTHONS = [
  ['that is installed', undefined],
  ['2', paho2()],
] as const

describe.each(PYTHONS)('Paho in Python, the one %s', (which, folder) => {
  if (which === '2' && folder === undefined) skipAll(`${NOT_TO_BE_HAD}: npm run test:programs unpacks Paho 2`)
  it.each([1, 2] as const)('with MQTT 5 at QoS %i, gets properties and reason codes', async (qos) => {
    await using app = await withAnn()
    const script = join(import.meta.dirname, 'client5.py')
    await using program = new Command(
      '/usr/bin/python3',
      [script, String(app.bridge.mqtt.port), PASSWORD, String(qos)],
      folder === undefined ? {} : { PYTHONPATH: folder },
    )
    const report = JSON.parse(await program.line(/"done"/))
    if (which === '2') expect(report.version).toMatch(/^2\./)
    expect(report).toMatchObject({
      done: true,
      connect: 'Success',
      granted: [`Granted QoS ${qos}`, 'Not authorized'],
      text: 'hello',
      user: [
        ['a', '1'],
        ['b', '2'],
        ['a', '3'],
      ],
      contentType: 'text/plain',
      correlation: 'c1',
      unsubscribed: ['Success'],
    })
    expect(report.expiry).toBeLessThanOrEqual(60)
    expect(await program.ended).toBe(0)
  })
})

/** Their options are those of Mosquitto's clients. */
const pahoC = (app: App, ...more: readonly string[]) => [
  '--verbose',
  '--trace',
  'protocol',
  ...argumentsOf(app),
  ...more,
]

describe('Paho in C with -V 5', () => {
  needs('paho-c')
  it.each([0, 1, 2])(
    'reads user properties and expiry at QoS %i, with both of its interfaces',
    async (qos) => {
      await using app = await withAnn()
      for (const [pub, sub] of [
        ['paho_c_pub', 'paho_c_sub'],
        ['paho_cs_pub', 'paho_cs_sub'],
      ] as const) {
        const level = ['-q', String(qos)]
        await using reader = new Command('stdbuf', [
          '-oL',
          sub,
          ...pahoC(app, '-t', 't/x', '-i', sub, ...level),
        ])
        await reader.line(/<- SUBACK/)
        const properties = ['--user-property', 'k', 'v', '--message-expiry', '100']
        const message = ['-t', 't/x', '-m', 'hello', '-i', pub, ...level, ...properties]
        await using writer = new Command('stdbuf', ['-oL', pub, ...pahoC(app, ...message)])
        expect(await writer.ended).toBe(0)
        await reader.line(/^(5 )?t\/x\s+hello/)
        const told = [await reader.line(/USER_PROPERTY/), await reader.line(/EXPIRY/)]
        expect(told[0]).toMatch(/key k value v/)
        expect(told[1]).toMatch(/value (99|100)$/)
      }
    },
  )

  it('is told that a message is denied, and that a password is wrong', async () => {
    await using app = await withAnn()
    const denied = pahoC(app, '-t', 'elsewhere', '-m', 'x', '-q', '1')
    await using pub = new Command('stdbuf', ['-oL', 'paho_c_pub', ...denied])
    expect(await pub.line(/Publish failed/)).toMatch(/reason code Not authorized$/)
    const wrong = pahoC(app, '-t', 't/x', '-m', 'x').map((each) =>
      each === PASSWORD ? 'a-wrong-password' : each,
    )
    await using refused = new Command('stdbuf', ['-oL', 'paho_c_pub', ...wrong])
    expect(await refused.line(/CONNACK/)).toMatch(/CONNACK rc: 134/)
  })
})

/** What Home Assistant sends when it starts, in its order. */
it('Home Assistant’s sequence is acknowledged, each step within a second', async () => {
  await using app = await withAnn()
  const within = async <T>(step: Promise<T>): Promise<T> => {
    const started = performance.now()
    const result = await step
    expect(performance.now() - started).toBeLessThan(patience(1000))
    return result
  }
  const will = { topic: 't/status', payload: Buffer.from('offline'), qos: 1, retain: true } as const
  const client = await within(ann(app, { clean: true, will, keepalive: 60 }))
  const granted = await within(
    new Promise<readonly number[]>((resolve) =>
      client.subscribe(
        ['t/+/config', 'limb/node/+/invoke', 't/status'],
        { qos: 0 },
        (_error, _granted, packet) => resolve((packet as unknown as { granted: number[] }).granted),
      ),
    ),
  )
  expect(granted).toEqual([0, 0x87, 0])
  await within(client.publishAsync('t/a', 'x', { qos: 1, properties: { messageExpiryInterval: 30 } }))
  await within(client.unsubscribeAsync('t/+/config'))
  await within(client.publishAsync('t/status', 'online', { qos: 1, retain: true }))
  const watcher = await ann(app)
  const told = new Promise<string>((resolve) => {
    watcher.on('message', (_topic, payload) => payload.toString() === 'offline' && resolve('offline'))
  })
  await watcher.subscribeAsync('t/status', { qos: 1 })
  client.stream.destroy()
  expect(await told).toBe('offline')
})

it('mqtt.js uses topic aliases, and receives subscription identifiers', async () => {
  await using app = await withAnn()
  const client = await ann(app, {
    clientId: '',
    clean: true,
    autoAssignTopicAlias: true,
    properties: { topicAliasMaximum: 5 },
  })
  const seen: unknown[] = []
  const three = new Promise<void>((resolve) => {
    client.on('message', (topic, _payload, packet) => {
      seen.push([topic, packet.properties?.subscriptionIdentifier])
      if (seen.length === 3) resolve()
    })
  })
  await client.subscribeAsync('t/+', { qos: 1, properties: { subscriptionIdentifier: 7 } })
  for (const text of ['1', '2', '3']) await client.publishAsync('t/x', text, { qos: 1 })
  await three
  expect(seen).toEqual([
    ['t/x', 7],
    ['t/x', 7],
    ['t/x', 7],
  ])
})
