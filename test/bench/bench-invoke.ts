import type { Socket } from 'node:net'
import type { IClientOptions } from 'mqtt'
import { startBridge } from '../support/bridge-process.ts'
import { connect, type TestClient } from '../support/client.ts'
import { type Line, median } from './line.ts'
import { aedesServer } from './peers.ts'
import type { Bench } from './run.ts'

/**
 * Round trip of a `free` call through the bridge, against the same exchange (request, forward, answer, forward)
 * between two clients of bare Aedes. They take turns every few calls, so that a machine that is busy for a second is
 * busy for all of them. Then invocations per second with several under way.
 */

const UNDER_WAY = 32
const SLICE = 50
const WARM_UP = 1000
const KEY = 'bench-'.padEnd(24, 'k')

/**
 * mqtt.js leaves Nagle's algorithm on: a PUBACK followed by a request then waits some 40 ms for the kernel's
 * delayed acknowledgement, whichever broker it talks to, and hides what is measured here.
 */
async function prompt(port: number, options: IClientOptions = {}): Promise<TestClient> {
  const client = await connect({ port }, options)
  ;(client.mqtt.stream as unknown as Socket).setNoDelay(true)
  return client
}

/** One way of asking a device for something. */
interface Exchange {
  readonly name: string
  call(): Promise<void>
  end(): Promise<void>
}

async function throughBridge(folder: string): Promise<Exchange> {
  const settings = { invocation: { maxPerNode: 1000, maxPerPrincipal: 1000 } }
  const bridge = await startBridge({ folder, settings })
  const admin = await connect({ socket: bridge.control })
  const capabilities = [{ cap: 'c', commands: ['c.do'], authLevel: 'free' }]
  await admin.do('admin', 'node/provision', { nodeId: 'r1', apiKey: KEY, capabilities })
  await admin.do('admin', 'principal/add', { name: 'ann', role: 'agent', password: 'ann-password' })
  const limb = await prompt(bridge.mqtt.port, { username: 'r1', password: KEY })
  limb.mqtt.removeAllListeners('message')
  limb.mqtt.on('message', (_, payload) => {
    const { invocationId, params } = JSON.parse(payload.toString())
    limb.mqtt.publish('limb/node/r1/result', JSON.stringify({ invocationId, success: true, data: params }), {
      qos: 1,
    })
  })
  await limb.subscribe('limb/node/r1/invoke')
  await limb.publish('limb/node/r1/heartbeat')
  const beat = setInterval(() => limb.mqtt.publish('limb/node/r1/heartbeat', ''), 10_000)
  const ann = await prompt(bridge.mqtt.port, { username: 'ann', password: 'ann-password' })
  const call = caller(ann, 'limb/principal/ann/request/invoke', (transaction) => ({
    transaction,
    nodeId: 'r1',
    command: 'c.do',
    params: { n: transaction },
  }))
  await ann.subscribe('limb/principal/ann/response/invoke')
  return {
    name: 'invoke',
    call,
    async end() {
      clearInterval(beat)
      for (const client of [admin, limb, ann]) client.mqtt.end(true)
      await bridge.stop()
    },
  }
}

/** The same exchange as with bare Aedes, through the bridge's broker: what rights, order and bounds cost by themselves. */
async function passedThrough(folder: string): Promise<Exchange> {
  const grants = [
    { to: 'ann', publish: ['ask'], subscribe: ['answer'] },
    { to: 'bob', publish: ['answer'], subscribe: ['ask'] },
  ]
  const bridge = await startBridge({ folder, settings: { mqtt: { grants } } })
  const admin = await connect({ socket: bridge.control })
  for (const name of ['ann', 'bob']) {
    await admin.do('admin', 'principal/add', { name, role: 'viewer', password: `${name}-password` })
  }
  const device = await prompt(bridge.mqtt.port, { username: 'bob', password: 'bob-password' })
  const agent = await prompt(bridge.mqtt.port, { username: 'ann', password: 'ann-password' })
  const call = await askAndAnswer(device, agent)
  return {
    name: 'passed on',
    call,
    async end() {
      for (const client of [admin, device, agent]) client.mqtt.end(true)
      await bridge.stop()
    },
  }
}

async function throughAedes(): Promise<Exchange> {
  const server = await aedesServer()
  const device = await prompt(server.port)
  const agent = await prompt(server.port)
  const call = await askAndAnswer(device, agent)
  return {
    name: server.name,
    call,
    async end() {
      for (const client of [device, agent]) client.mqtt.end(true)
      await server.end()
    },
  }
}

async function askAndAnswer(device: TestClient, agent: TestClient): Promise<() => Promise<void>> {
  device.mqtt.removeAllListeners('message')
  device.mqtt.on('message', (_, payload) => {
    const { transaction, params } = JSON.parse(payload.toString())
    device.mqtt.publish('answer', JSON.stringify({ transaction, success: true, data: params }), { qos: 1 })
  })
  await device.subscribe('ask')
  const call = caller(agent, 'ask', (transaction) => ({ transaction, params: { n: transaction } }))
  await agent.subscribe('answer')
  return call
}

function caller(client: TestClient, topic: string, body: (n: number) => object): () => Promise<void> {
  const waiting = new Map<number, () => void>()
  let calls = 0
  client.mqtt.removeAllListeners('message')
  client.mqtt.on('message', (_, payload) => {
    const { transaction, ok, success } = JSON.parse(payload.toString())
    if (!(ok ?? success)) throw new Error(payload.toString())
    waiting.get(transaction)?.()
    waiting.delete(transaction)
  })
  return () =>
    new Promise((resolve) => {
      const n = calls++
      waiting.set(n, resolve)
      client.mqtt.publish(topic, JSON.stringify(body(n)), { qos: 1 })
    })
}

async function latencies({ call }: Exchange, count: number): Promise<number[]> {
  const found: number[] = []
  for (let i = 0; i < count; i++) {
    const started = performance.now()
    await call()
    found.push(performance.now() - started)
  }
  return found
}

async function perSecond({ call }: Exchange, count: number): Promise<number> {
  const started = performance.now()
  let left = count
  const line = async () => {
    while (left-- > 0) await call()
  }
  await Promise.all(Array.from({ length: UNDER_WAY }, line))
  return count / ((performance.now() - started) / 1000)
}

/** Each exchange's round trips in milliseconds, slice by slice. */
async function inTurns(exchanges: readonly Exchange[], slices: number): Promise<number[][][]> {
  const found: number[][][] = exchanges.map(() => [])
  for (let i = 0; i < slices; i++) {
    for (const [at, each] of exchanges.entries()) found[at]?.push(await latencies(each, SLICE))
  }
  return found
}

const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b)
const quantile = (values: readonly number[], q: number) =>
  sorted(values)[Math.floor(q * (values.length - 1))] ?? Number.NaN

export async function benchInvoke(bench: Bench): Promise<Line[]> {
  const { callSlices, callsAtOnce } = bench.scale
  bench.say(`invoking, ${callSlices} times ${SLICE} calls each way`)
  const bridge = bench.add(await throughBridge(bench.folder()))
  const passed = bench.add(await passedThrough(bench.folder()))
  const bare = bench.add(await throughAedes())
  const exchanges = [bridge, passed, bare]
  for (const each of exchanges) await latencies(each, Math.min(WARM_UP, SLICE * callSlices))
  const slices = await inTurns(exchanges, callSlices)
  const rates: number[] = []
  for (const each of exchanges) rates.push(await perSecond(each, callsAtOnce))
  await bench.endAll()

  const [own = Number.NaN, , others = Number.NaN] = rates
  const [ours = [], through = [], theirs = []] = slices
  const line = (name: string, values: readonly number[][], q: number, goal?: number): Line => {
    const value = quantile(values.flat(), q)
    const peer = { name: bare.name, value: quantile(theirs.flat(), q) }
    const pairs = values.map((slice, i) => quantile(slice, q) / quantile(theirs[i] ?? [], q))
    return {
      name,
      unit: 'ms',
      bridge: value,
      peer,
      ratio: q === 0.5 ? median(pairs) : value / peer.value,
      ...(goal === undefined ? {} : { goal }),
      note:
        q === 0.5
          ? `ratios of ${callSlices} slices, middle half: ${spread(pairs)}`
          : `of ${values.flat().length} calls`,
    }
  }
  return [
    line('invoke, round trip p50 / bare Aedes', ours, 0.5, 1.15),
    line('invoke, round trip p99 / bare Aedes', ours, 0.99, 1.3),
    line('merely passed on, round trip p50 / bare Aedes', through, 0.5),
    {
      name: `invoke, ${UNDER_WAY} under way / bare Aedes`,
      unit: 'ms each',
      bridge: 1000 / own,
      peer: { name: bare.name, value: 1000 / others },
      ratio: others / own,
      // At least half of its rate.
      goal: 2,
      note: `${own.toFixed(0)} and ${others.toFixed(0)} a second; the clients share the machine`,
    },
  ]
}

function spread(ratios: readonly number[]): string {
  return `${quantile(ratios, 0.25).toFixed(2)} to ${quantile(ratios, 0.75).toFixed(2)}`
}
