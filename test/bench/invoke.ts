import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startBridge } from '../support/bridge-process.ts'
import { connect, type TestClient } from '../support/client.ts'

/**
 * Round trip of a `free` call through the bridge, against the same exchange (request, forward, answer, forward)
 * between two clients of bare Aedes, in turns in the same run; then calls per second with 32 under way.
 * `node test/bench/invoke.ts [--calls N] [--rounds N]`
 */

const { values } = parseArgs({
  options: { calls: { type: 'string', default: '2000' }, rounds: { type: 'string', default: '3' } },
})
const CALLS = Number(values.calls)
const ROUNDS = Number(values.rounds)
const UNDER_WAY = 32
const KEY = 'bench-'.padEnd(24, 'k')

/**
 * mqtt.js leaves Nagle's algorithm on: a PUBACK followed by a request then waits some 40 ms for the kernel's
 * delayed acknowledgement, whichever broker it talks to, and hides what is measured here.
 */
async function prompt(options: Parameters<typeof connect>[1] & { port: number }): Promise<TestClient> {
  const { port, ...rest } = options
  const client = await connect({ port }, rest)
  ;(client.mqtt.stream as unknown as Socket).setNoDelay(true)
  return client
}

/** One way of asking a device for something. */
interface Exchange {
  readonly name: string
  call(): Promise<void>
  end(): Promise<void>
}

async function throughBridge(): Promise<Exchange> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-bench-invoke-'))
  const settings = { invocation: { maxPerNode: 1000, maxPerPrincipal: 1000 } }
  const bridge = await startBridge({ folder, settings })
  const admin = await connect({ socket: bridge.control })
  const capabilities = [{ cap: 'c', commands: ['c.do'], authLevel: 'free' }]
  await admin.do('admin', 'node/provision', { nodeId: 'r1', apiKey: KEY, capabilities })
  await admin.do('admin', 'principal/add', { name: 'ann', role: 'agent', password: 'ann-password' })
  const limb = await prompt({ port: bridge.mqtt.port, username: 'r1', password: KEY })
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
  const ann = await prompt({ port: bridge.mqtt.port, username: 'ann', password: 'ann-password' })
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
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The same exchange as with bare Aedes, through the bridge's broker: what rights, order and bounds cost by themselves. */
async function passedThrough(): Promise<Exchange> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-bench-pass-'))
  const grants = [
    { to: 'ann', publish: ['ask'], subscribe: ['answer'] },
    { to: 'bob', publish: ['answer'], subscribe: ['ask'] },
  ]
  const bridge = await startBridge({ folder, settings: { mqtt: { grants } } })
  const admin = await connect({ socket: bridge.control })
  for (const name of ['ann', 'bob']) {
    await admin.do('admin', 'principal/add', { name, role: 'viewer', password: `${name}-password` })
  }
  const device = await prompt({ port: bridge.mqtt.port, username: 'bob', password: 'bob-password' })
  const agent = await prompt({ port: bridge.mqtt.port, username: 'ann', password: 'ann-password' })
  const call = await askAndAnswer(device, agent)
  return {
    name: 'passed on',
    call,
    async end() {
      for (const client of [admin, device, agent]) client.mqtt.end(true)
      await bridge.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function throughAedes(): Promise<Exchange> {
  const { child, port } = await bareAedes()
  const device = await prompt({ port })
  const agent = await prompt({ port })
  const call = await askAndAnswer(device, agent)
  return {
    name: 'bare Aedes',
    call,
    async end() {
      for (const client of [device, agent]) client.mqtt.end(true)
      child.kill()
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

function bareAedes(): Promise<{ child: ChildProcess; port: number }> {
  const script = `
    import { createServer } from 'node:net'
    import { Aedes } from 'aedes'
    const broker = await Aedes.createBroker()
    const server = createServer({ noDelay: true }, broker.handle)
    server.listen(0, '127.0.0.1', () => process.send(server.address().port))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  return new Promise((resolve) => child.once('message', (port) => resolve({ child, port: Number(port) })))
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

const quantile = (sorted: readonly number[], q: number) => sorted[Math.floor(q * (sorted.length - 1))] ?? 0

const exchanges = [await throughAedes(), await passedThrough(), await throughBridge()]
const samples = new Map<Exchange, number[]>(exchanges.map((each) => [each, []]))
for (const each of exchanges) await latencies(each, 500)
for (let round = 0; round < ROUNDS; round++) {
  for (const each of exchanges) samples.get(each)?.push(...(await latencies(each, CALLS / ROUNDS)))
}
const found = exchanges.map((each) => {
  const sorted = (samples.get(each) ?? []).sort((a, b) => a - b)
  return { each, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }
})
for (const { each, p50, p99 } of found) {
  const rate = await perSecond(each, CALLS * 2)
  console.log(
    `${each.name.padEnd(12)} p50 ${p50.toFixed(3)} ms  p99 ${p99.toFixed(3)} ms  ${rate.toFixed(0)} calls/s with ${UNDER_WAY} under way`,
  )
}
const [bare, ...others] = found
for (const { each, p50, p99 } of bare ? others : []) {
  if (bare)
    console.log(
      `${each.name} against bare Aedes: p50 ${(p50 / bare.p50).toFixed(2)}, p99 ${(p99 / bare.p99).toFixed(2)}`,
    )
}
for (const each of exchanges) await each.end()
