import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DeviceCheckOptions } from '../../src/cli/context.ts'
import { Limb } from '../../src/client/client.ts'
import { WAITS } from '../../src/device-check/check-parts.ts'
import { CLAUSES, type ClauseId } from '../../src/device-check/clauses.ts'
import { checkAt, type PrivateBridge, privateBridge } from '../../src/device-check/device-check.ts'
import { Teardown } from '../../src/kernel/teardown.ts'
import type { WireRegistration } from '../../src/protocol/schemas.ts'
import { authority } from '../support/certificates.ts'
import { Command } from '../support/command.ts'
import type { Version } from '../support/mqtt-wire.ts'
import { skipWithout } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { type Fault, Firmware, REGISTRATION } from './firmware.ts'

/** Each clause of `device check`, held by a device that keeps it and broken by one that does not. */

const ROOT = join(import.meta.dirname, '../..')

const WAITS_OF_TESTS = {
  ...WAITS,
  firstConnectionMs: 20_000,
  answerMs: 8000,
  pendingMs: 1000,
  returnMs: 12_000,
  repeatMs: 1000,
  rejectedMs: 1500,
}

const teardown = new Teardown()
let bridge: PrivateBridge
let devices = 0
beforeAll(async () => {
  bridge = await privateBridge({ root: 'limb', version: '0.0.0' }, teardown)
}, patience(30_000))
afterAll(() => teardown.run())

const OPTIONS = {
  host: '127.0.0.1',
  port: 0,
  root: 'limb',
  version: '0.0.0',
  seconds: 20,
  thorough: false,
  rotateKey: false,
  signal: new AbortController().signal,
  progress: () => {},
}

interface Outcome {
  readonly wrong: readonly string[]
  readonly advice: readonly string[]
  readonly notTried: readonly string[]
  readonly seen: Readonly<Record<string, string | undefined>>
}

/** Runs a check with one device that has these faults. */
async function check(
  faults: readonly Fault[],
  options: Partial<DeviceCheckOptions> = {},
  mqtt: Version = 4,
): Promise<Outcome> {
  let firmware: Firmware | undefined
  const outcome = await checkAt(
    bridge,
    {
      ...OPTIONS,
      listening(port) {
        firmware = new Firmware(port, `lamp${++devices}`, faults, mqtt)
        void firmware.run()
      },
      ...options,
    },
    WAITS_OF_TESTS,
  )
  firmware?.stop()
  if (!outcome.ok) throw new Error(outcome.reason)
  const by = (verdict: string) =>
    outcome.findings.filter((each) => each.verdict === verdict).map(({ clause }) => clause)
  const seen = Object.fromEntries(outcome.findings.map(({ clause, seen }) => [clause, seen]))
  return { wrong: by('wrong'), advice: by('advice'), notTried: by('not_tried'), seen }
}

interface Case {
  readonly what: string
  readonly faults: readonly Fault[]
  readonly wrong: readonly ClauseId[]
  readonly advice?: readonly ClauseId[]
  readonly options?: Partial<DeviceCheckOptions>
  readonly says?: Partial<Record<ClauseId, RegExp>>
}

/** In the order of the clauses. A case may have several faults that do not touch each other. */
const CASES: readonly Case[] = [
  {
    what: 'has no user name',
    faults: ['no-user'],
    wrong: ['connect.name', 'register.sent'],
    says: { 'connect.name': /without a user name \(client id "lamp\d+"\)/ },
  },
  {
    what: 'is careless in what should be',
    faults: [
      'client-id',
      'long-keepalive',
      'subscribes-late',
      'registers-at-qos-0',
      'invoke-at-qos-0',
      'retained-heartbeat',
      'result-at-qos-0',
      'takes-anything',
      'fixed-pause',
      'comes-back-rejected',
      'ignores-new-key',
    ],
    wrong: ['key.rotated'],
    options: { rotateKey: true },
    advice: [
      'connect.client-id',
      'connect.keepalive',
      'subscribe.first',
      'register.qos',
      'invoke.qos',
      'heartbeat.retained',
      'invoke.result-qos',
      'invoke.error',
      'reconnect.grows',
      'rejected.waits',
    ],
    says: { 'connect.client-id': /"some-client"/, 'invoke.error': /no value of this kind/ },
  },
  {
    what: 'has a key that is too short',
    faults: ['short-key'],
    wrong: ['connect.key', 'register.valid'],
    says: { 'connect.key': /has 5 characters/, 'register.valid': /use 20 or more/ },
  },
  {
    what: 'makes a key at each start, and starts again and again',
    faults: ['new-key-each-time', 'reconnects-while-pending', 'registers-often'],
    wrong: ['connect.same-key', 'register.once', 'pending.waits'],
  },
  {
    what: 'does what it must not while it lives',
    faults: [
      'subscribes-everything',
      'own-pace',
      'nonsense-heartbeat',
      'does-twice',
      'forgets-fence',
      'publishes-elsewhere',
      'lies-about-values',
      'storms',
    ],
    wrong: [
      'subscribe.own',
      'heartbeat.pace',
      'heartbeat.valid',
      'invoke.once',
      'invoke.fence',
      'publish.own',
      'data.described',
      'reconnect.paused',
    ],
    advice: ['reconnect.grows'],
    says: {
      'subscribe.own': /"#"/,
      'heartbeat.pace': /every 5 seconds/,
      'heartbeat.valid': /status/,
      'publish.own': /homeassistant\/sensor/,
      'data.described': /at most 100, not 255/,
    },
  },
  {
    what: 'never registers',
    faults: ['never-registers'],
    wrong: ['register.sent'],
    says: { 'register.sent': /connected as lamp\d+, and published no `register`/ },
  },
  {
    what: 'registers nonsense',
    faults: ['registers-nonsense'],
    wrong: ['register.valid'],
    says: { 'register.valid': /displayName/ },
  },
  {
    what: 'does nothing once it is approved',
    faults: ['no-invoke', 'no-heartbeat', 'registers-once'],
    wrong: [
      'register.sent',
      'invoke.subscribed',
      'heartbeat.first',
      'invoke.answered',
      'reconnect.registers',
    ],
    says: { 'heartbeat.first': /has \d+ bytes: PubSubClient/, 'invoke.answered': /node_offline/ },
  },
  {
    what: 'never answers',
    faults: ['never-answers'],
    wrong: ['invoke.answered'],
    says: { 'invoke.answered': /timeout/ },
  },
  {
    what: 'answers without the invocationId',
    faults: ['result-without-id', 'stays-away'],
    wrong: ['invoke.answered', 'invoke.result', 'reconnect.again'],
  },
  {
    what: 'answers what the schema does not have',
    faults: ['wrong-result', 'stays-away'],
    wrong: ['invoke.result', 'reconnect.again'],
    says: { 'invoke.result': /success/ },
  },
  {
    what: 'takes a silent bridge for a good one',
    faults: ['never-notices-silence'],
    wrong: [],
    advice: ['reconnect.silent'],
    options: { thorough: true },
  },
]

describe.concurrent('a check of a device', { timeout: patience(180_000) }, () => {
  it.for([4, 5] as const)(
    'that does all finds nothing wrong, with MQTT level %s',
    async (mqtt, { expect }) => {
      const outcome = await check([], { rotateKey: true, thorough: true }, mqtt)
      const { seen, ...lists } = outcome
      expect(lists, JSON.stringify(seen)).toEqual({ wrong: [], advice: [], notTried: [] })
    },
  )

  it.for(CASES)('that $what says so, and nothing else', async (each, { expect }) => {
    const { wrong, advice, seen } = await check(each.faults, each.options)
    const about = JSON.stringify(seen, null, 1)
    expect(wrong, about).toEqual(each.wrong)
    expect(advice, about).toEqual(each.advice ?? [])
    for (const [clause, words] of Object.entries(each.says ?? {})) expect(seen[clause]).toMatch(words)
  })
})

const PICO = 'config.json={"bridge":"127.0.0.1","port":<port>,"nodeId":"pico1"}'
const FEATHER = 'settings.toml=LIMB_BRIDGE = "127.0.0.1"\nLIMB_PORT = <port>\nLIMB_NODE_ID = "feather1"\n'

describe.concurrent('a check of an example', { timeout: patience(180_000) }, () => {
  it.for([
    ['MicroPython', 'micropython/main.py', PICO, ['invoke.error', 'invoke.fence', 'reconnect.silent']],
    ['CircuitPython', 'circuitpython/code.py', FEATHER, ['invoke.fence', 'reconnect.silent']],
  ] as const)('for %s finds nothing wrong', async ([, program, settings, notTried], { expect }) => {
    const started: Command[] = []
    const outcome = await checkAt(
      bridge,
      {
        ...OPTIONS,
        rotateKey: true,
        listening(port) {
          const board = join(ROOT, 'test/makers/micropython/board.ts')
          const args = [board, join(ROOT, 'examples', program), settings.replace('<port>', String(port))]
          started.push(new Command(process.execPath, args))
        },
      },
      // Real programs make real pauses, up to thirty seconds.
      { ...WAITS_OF_TESTS, answerMs: patience(8000), returnMs: patience(40_000) },
    )
    for (const board of started) await board[Symbol.asyncDispose]()
    if (!outcome.ok) throw new Error(outcome.reason)
    const others = outcome.findings.filter(({ verdict }) => verdict !== 'holds')
    const about = `${JSON.stringify(others)}\n${started.flatMap((board) => board.lines).join('\n')}`
    expect(
      others.map(({ clause, verdict }) => `${verdict} ${clause}`),
      about,
    ).toEqual(notTried.map((clause) => `not_tried ${clause}`))
  })
})

describe.concurrent('a check of the client package', { timeout: patience(180_000) }, () => {
  it('finds nothing wrong with its limb, over TLS', async (context) => {
    const { expect } = context
    skipWithout(context, 'openssl')
    const folder = mkdtempSync(join(tmpdir(), 'limb-check-tls-'))
    const ca = authority(folder)
    const { certFile, keyFile } = ca.issue('localhost')
    const limbs: Limb[] = []
    let kept = 'the-Key-of-this-limb-0123456789'
    const outcome = await checkAt(
      bridge,
      {
        ...OPTIONS,
        rotateKey: true,
        tls: { certFile, keyFile },
        listening(port) {
          const limb = new Limb({
            url: `mqtts://localhost:${port}`,
            ca: ca.cert,
            nodeId: 'package1',
            keyFile: {
              load: () => kept,
              save(key) {
                kept = key
              },
            },
            registration: { ...REGISTRATION, properties: undefined } as WireRegistration,
            handlers: {
              'lamp.set': ({ params }) => {
                const { on } = params as { on?: unknown }
                if (typeof on !== 'boolean') throw new Error('on must be true or false')
                return { on }
              },
            },
          })
          limbs.push(limb)
          limb.start()
        },
      },
      { ...WAITS_OF_TESTS, answerMs: patience(8000), returnMs: patience(40_000) },
    )
    for (const limb of limbs) await limb.stop()
    rmSync(folder, { recursive: true })
    if (!outcome.ok) throw new Error(outcome.reason)
    const others = outcome.findings.filter(({ verdict }) => verdict !== 'holds')
    expect(
      others.map(({ clause, verdict }) => `${verdict} ${clause}`),
      JSON.stringify(others),
    ).toEqual(['not_tried data.described', 'not_tried reconnect.silent'])
  })
})

describe.concurrent('a check of a device that comes over WebSocket', { timeout: patience(180_000) }, () => {
  it('finds nothing wrong with one that does all', async ({ expect }) => {
    const limbs: Limb[] = []
    let kept = 'the-Key-of-this-limb-0123456789'
    const outcome = await checkAt(
      bridge,
      {
        ...OPTIONS,
        rotateKey: true,
        listening(port) {
          const limb = new Limb({
            url: `ws://127.0.0.1:${port}/mqtt`,
            nodeId: 'socket1',
            keyFile: {
              load: () => kept,
              save(key) {
                kept = key
              },
            },
            registration: { ...REGISTRATION, properties: undefined } as WireRegistration,
            handlers: {
              'lamp.set': ({ params }) => {
                const { on } = params as { on?: unknown }
                if (typeof on !== 'boolean') throw new Error('on must be true or false')
                return { on }
              },
            },
          })
          limbs.push(limb)
          limb.start()
        },
      },
      { ...WAITS_OF_TESTS, answerMs: patience(8000), returnMs: patience(40_000) },
    )
    for (const limb of limbs) await limb.stop()
    if (!outcome.ok) throw new Error(outcome.reason)
    const others = outcome.findings.filter(({ verdict }) => verdict !== 'holds')
    expect(
      others.map(({ clause, verdict }) => `${verdict} ${clause}`),
      JSON.stringify(others),
    ).toEqual(['not_tried data.described', 'not_tried reconnect.silent'])
  })

  it.for([
    ['/ws', ['mqtt'], /MQTT over WebSocket is at \/mqtt/],
    ['/mqtt', [], /offer the WebSocket subprotocol "mqtt"/],
  ] as const)('says what is wrong with its handshake at %s', async ([path, protocols, says], { expect }) => {
    const told: string[] = []
    const outcome = await checkAt(
      bridge,
      {
        ...OPTIONS,
        progress: (text) => told.push(text),
        listening: (port) =>
          new WebSocket(`ws://127.0.0.1:${port}${path}`, [...protocols]).addEventListener('error', () => {}),
      },
      { ...WAITS_OF_TESTS, answerMs: 1000 },
    )
    if (!outcome.ok) throw new Error(outcome.reason)
    const finding = outcome.findings.find(({ clause }) => clause === 'register.sent')
    expect(finding).toMatchObject({ verdict: 'wrong', seen: expect.stringMatching(says) })
    expect(told.some((text) => says.test(text))).toBe(true)
  })

  it('tells a limb of the HTTP API that it is not checked', async ({ expect }) => {
    const answers: Promise<Response>[] = []
    const outcome = await checkAt(
      bridge,
      {
        ...OPTIONS,
        listening: (port) =>
          answers.push(fetch(`http://127.0.0.1:${port}/api/limb/register`, { method: 'POST', body: '{}' })),
      },
      { ...WAITS_OF_TESTS, answerMs: 1000 },
    )
    const [answer] = await Promise.all(answers)
    expect([answer?.status, await answer?.text()]).toEqual([404, expect.stringContaining('HTTP API')])
    expect(outcome).toMatchObject({ ok: true, came: true })
  })
})

describe('a check that cannot listen', () => {
  it('says what to do about a port that is taken', async () => {
    const again = checkAt(bridge, { ...OPTIONS, port: bridge.port, listening: () => {} }, WAITS_OF_TESTS)
    await expect(again).rejects.toThrow(/is taken, perhaps by your bridge: choose another one with --port/)
  })

  it('says which file of its certificate cannot be read', async () => {
    const tls = { certFile: '/nowhere/bridge.pem', keyFile: '/nowhere/key.pem' }
    const again = checkAt(bridge, { ...OPTIONS, tls, listening: () => {} }, WAITS_OF_TESTS)
    await expect(again).rejects.toThrow(/^--tls-cert: cannot read \/nowhere\/bridge\.pem: /)
  })
})

describe('the clauses', () => {
  it('stand on docs/devices/check.md, each with a heading of docs/protocol/limbs.md', () => {
    const page = readFileSync(join(ROOT, 'docs/devices/check.md'), 'utf8')
    const listed = [...page.matchAll(/^\| `([a-z]+\.[a-z-]+)` \| (.*?)( \*\(advice\)\*)? \|$/gm)]
    expect(listed.map(([, id, text, advice]) => ({ id, text, must: advice === undefined }))).toEqual(
      CLAUSES.map(({ id, text, must }) => ({ id, text, must })),
    )
    const limbs = readFileSync(join(ROOT, 'docs/protocol/limbs.md'), 'utf8')
    for (const { section } of CLAUSES) expect(limbs).toMatch(new RegExp(`^##+ ${section}$`, 'm'))
  })

  it('are each broken by a device of these tests', () => {
    const broken = new Set(CASES.flatMap(({ wrong, advice = [] }) => [...wrong, ...advice]))
    expect(CLAUSES.map(({ id }) => id).filter((id) => !broken.has(id))).toEqual([])
  })
})
