import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Calls, Limb, type LimbEvent, type LimbOptions, SignedCalls } from '../../src/client/client.ts'
import { KeyFile } from '../../src/client/key-file.ts'
import { UnsentResults, unsentOf } from '../../src/client/unsent.ts'
import { invokeSignature, invokeSignature2 } from '../../src/kernel/invoke-signature.ts'
import type { Capability } from '../../src/protocol/schemas.ts'
import { startApp, type TestApp } from '../support/app.ts'
import type { Loose, TestClient } from '../support/client.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { agent } from '../support/worker.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-client-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const CAMERA: Capability = { cap: 'camera', commands: ['camera.snap'], authLevel: 'free' }

const REGISTRATION: LimbOptions['registration'] = {
  displayName: 'Robot',
  platform: 'node',
  capabilities: [
    { cap: 'camera', commands: ['camera.snap', 'camera.fail', 'camera.flood'], authLevel: 'free' },
  ],
}

/** A limb whose events can be awaited. */
function robot(app: TestApp, more: Partial<LimbOptions> = {}) {
  const events: LimbEvent[] = []
  let wake = () => {}
  const limb = new Limb({
    url: `mqtt://127.0.0.1:${app.bridge.mqtt.port}`,
    nodeId: 'r1',
    registration: REGISTRATION,
    keyFile: join(folder, 'key'),
    handlers: {
      'camera.snap': ({ params, principal }) => ({ params, principal }),
      'camera.fail': () => {
        throw new Error('lens cap on')
      },
      'camera.flood': () => 'x'.repeat(1_100_000),
    },
    onEvent(event) {
      events.push(event)
      wake()
    },
    ...more,
  })
  async function next<K extends LimbEvent['kind']>(kind: K): Promise<Extract<LimbEvent, { kind: K }>> {
    for (;;) {
      const index = events.findIndex((event) => event.kind === kind)
      if (index >= 0) return events.splice(0, index + 1).at(-1) as Extract<LimbEvent, { kind: K }>
      await new Promise<void>((done) => {
        wake = done
      })
    }
  }
  return { limb, next, [Symbol.asyncDispose]: () => limb.stop() }
}

async function online(admin: TestClient): Promise<void> {
  await admin.subscribe('limb/node/+/status')
  await admin.next((message) => message.text === 'online')
}

describe('a limb of the client library', () => {
  it('makes its key, pairs, comes online, does what it is invoked for, and says goodbye', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await using r1 = robot(app)
    r1.limb.start()
    const { code, requestId } = await r1.next('pending')
    expect((await admin.do('admin', 'pairing/list')).items).toMatchObject([{ code }])
    await admin.do('admin', 'pairing/approve', { requestId })
    await online(admin)
    expect(statSync(join(folder, 'key')).mode & 0o777).toBe(0o600)

    const ann = await agent(app, 'ann')
    const invoke = (command: string): Promise<Loose> =>
      ann.ask('ann', 'invoke', { nodeId: 'r1', command, params: { zoom: 2 } })
    expect((await invoke('camera.snap')).data.data).toEqual({ params: { zoom: 2 }, principal: 'ann' })
    expect((await invoke('camera.fail')).error).toMatchObject({
      code: 'node_error',
      details: { nodeError: 'lens cap on' },
    })
    expect((await invoke('camera.flood')).error.message).toContain('1048576')

    r1.limb.setStatus('busy')
    await admin.next((message) => message.text === 'busy')
    await r1.limb.stop()
    await admin.next((message) => message.text === 'offline')
    expect(await admin.do('admin', 'node/get', { nodeId: 'r1' })).toMatchObject({ reason: 'disconnected' })
  })

  it('comes back after a restart of the bridge, with a key that was rotated meanwhile', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await admin.do('admin', 'pairing/permit', { seconds: 60 })
    await using r1 = robot(app)
    r1.limb.start()
    await r1.next('approved')
    const before = readFileSync(join(folder, 'key'), 'utf8')
    const { toldToLimb, apiKey } = await admin.do('admin', 'node/rotate-key', { nodeId: 'r1' })
    expect(toldToLimb).toBe(true)
    await app.restart()
    expect((await r1.next('disconnected')).retryMs).toBeLessThan(2000)
    await r1.next('approved')
    expect(readFileSync(join(folder, 'key'), 'utf8').trim()).toBe(apiKey)
    expect(before.trim()).not.toBe(apiKey)
  })

  it('that is rejected is told once, and tries again only after minutes', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await using r1 = robot(app)
    r1.limb.start()
    const { requestId } = await r1.next('pending')
    await admin.do('admin', 'pairing/reject', { requestId })
    await r1.next('rejected')
    expect((await r1.next('disconnected')).retryMs).toBeGreaterThan(100_000)
  })
})

/** The way from a limb to the bridge, which can swallow what the limb sends and then break. */
async function way(port: number) {
  const sockets = new Set<Socket>()
  let open = true
  let swallowed = () => {}
  const server = createServer((near) => {
    const far = connectSocket(port, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => near.destroy() && far.destroy())
    }
    near.on('data', (bytes) => (open ? far.write(bytes) : swallowed()))
    far.pipe(near)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** From now on nothing of the limb gets through; resolves when something of it did not. */
    swallow(): Promise<void> {
      open = false
      return new Promise((done) => {
        swallowed = done
      })
    },
    /** Ends of connections that are open. */
    get open(): number {
      return [...sockets].filter((socket) => !socket.destroyed).length
    },
    /** Ends all connections; those that come later get through. */
    break() {
      for (const socket of sockets) socket.destroy()
      open = true
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

describe('a result that a broken connection did not take', () => {
  /** A robot on a way that breaks, whose calls end when they are told to. */
  async function atWork(app: TestApp, url: string) {
    const admin = await app.admin()
    await admin.do('admin', 'pairing/permit', { seconds: 60 })
    let end = (_: unknown) => {}
    let begun = () => {}
    const work = () =>
      new Promise((done) => {
        end = done
        begun()
      })
    const r1 = robot(app, { url, handlers: { 'camera.snap': work } })
    r1.limb.start()
    await r1.next('approved')
    await online(admin)
    const ann = await agent(app, 'ann')
    /** A call that has begun. */
    async function call() {
      const running = new Promise<void>((done) => {
        begun = done
      })
      const answer = ann.ask('ann', 'invoke', { nodeId: 'r1', command: 'camera.snap' })
      await running
      return { answer, end: (data: unknown) => end(data) }
    }
    return { ...r1, call }
  }
  const resultsDropped = (app: TestApp) =>
    app.logLines.filter(({ msg }) => /result of r1 dropped/.test(String(msg)))

  it('is sent on the next one, in time for its caller', async () => {
    await using app = await startApp({}, { memory: true })
    await using lan = await way(app.bridge.mqtt.port)
    await using r1 = await atWork(app, lan.url)
    const call = await r1.call()
    lan.break()
    await r1.next('disconnected')
    call.end('late but whole')
    expect(await call.answer).toMatchObject({ ok: true, data: { data: 'late but whole' } })
  })

  it('because it broke between its PUBLISH and the PUBACK is sent on the next one, once', async () => {
    await using app = await startApp({}, { memory: true })
    await using lan = await way(app.bridge.mqtt.port)
    await using r1 = await atWork(app, lan.url)
    const first = await r1.call()
    const swallowed = lan.swallow()
    first.end('sent twice')
    await swallowed
    lan.break()
    expect(await first.answer).toMatchObject({ ok: true, data: { data: 'sent twice' } })
    // This call came after the PUBACK of that result, which is not sent again on a later connection.
    const second = await r1.call()
    lan.break()
    await r1.next('disconnected')
    second.end('sent once')
    expect(await second.answer).toMatchObject({ ok: true, data: { data: 'sent once' } })
    expect(resultsDropped(app)).toEqual([])
  })

  it('keeps no connection open after a stop', async () => {
    await using app = await startApp({}, { memory: true })
    await using lan = await way(app.bridge.mqtt.port)
    await using r1 = await atWork(app, lan.url)
    const call = await r1.call()
    const swallowed = lan.swallow()
    call.end('never acknowledged')
    await swallowed
    expect(lan.open).toBe(2)
    await r1.limb.stop()
    await expect.poll(() => lan.open).toBe(0)
  })
})

describe('results that wait for a connection', () => {
  const clock = new FakeClock()
  const ofCall = (id: number, data: unknown = id, deadlineMs = clock.wallMs() + 30_000) => {
    const invocationId = `iv_${id}`
    const deadline = new Date(deadlineMs).toISOString()
    const invocation = { invocationId, command: 'camera.snap', params: {}, principal: 'ann', deadline }
    const received = { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() }
    return unsentOf(invocation, { invocationId, success: true, data }, received)
  }
  function waiting() {
    const dropped: string[] = []
    const results = new UnsentResults(clock, ({ invocationId }, why) =>
      dropped.push(`${invocationId} ${why}`),
    )
    const take = () => results.takeAll().map(({ invocationId }) => invocationId)
    return { results, dropped, take }
  }

  it('are handed over once, oldest first, and the same one is kept once', () => {
    const { results, dropped, take } = waiting()
    for (const id of [1, 2, 1, 3]) results.add(ofCall(id))
    expect(take()).toEqual(['iv_2', 'iv_1', 'iv_3'])
    expect(take()).toEqual([])
    expect(dropped).toEqual([])
  })

  it('are bounded in number and in bytes; the oldest is dropped, and told', () => {
    const many = waiting()
    for (let id = 0; id < 258; id++) many.results.add(ofCall(id))
    expect(many.dropped).toEqual(['iv_0 too_many', 'iv_1 too_many'])
    expect(many.take()).toHaveLength(256)
    const large = waiting()
    for (let id = 0; id < 9; id++) large.results.add(ofCall(id, 'x'.repeat(1_000_000)))
    expect(large.dropped).toEqual(['iv_0 too_many'])
    expect(large.take()).toHaveLength(8)
  })

  it('are dropped after the deadline, by a clock that may be set meanwhile or be wrong', () => {
    const { results, dropped, take } = waiting()
    results.add(ofCall(1))
    results.add(ofCall(2, 2, clock.wallMs() + 90_000))
    // Told at a time that has passed: this clock is ahead of the bridge's.
    results.add(ofCall(3, 3, clock.wallMs() - 1000))
    clock.jumpWall(3_600_000)
    clock.advance(60_000)
    expect(take()).toEqual(['iv_2', 'iv_3'])
    expect(dropped).toEqual(['iv_1 late'])
  })
})

describe('its calls', () => {
  const call = (more: object = {}): Loose => ({
    invocationId: 'iv_1',
    command: 'camera.snap',
    params: {},
    principal: 'ann',
    deadline: '2099-01-01T00:00:00.000Z',
    ...more,
  })
  const calls = (handler: () => unknown) => new Calls({ 'camera.snap': handler }, [CAMERA], () => 0)

  it('run once when an invocation comes twice', async () => {
    let count = 0
    const running = calls(() => ++count)
    const twice = await Promise.all([running.run(call()), running.run(call())])
    expect(twice.map((result) => result.data)).toEqual([1, 1])
  })

  it('are refused with a lower fence than one that was seen', async () => {
    const running = calls(() => 'moved')
    const fences = [7, 6, 7, 8].map((fence, i) => running.run(call({ invocationId: `iv_${i}`, fence })))
    expect((await Promise.all(fences)).map((result) => result.success)).toEqual([true, false, true, true])
  })

  it('that nobody handles, and names of the prototype, are failures', async () => {
    const running = calls(() => 0)
    expect(await running.run(call({ command: 'constructor' }))).toMatchObject({ success: false })
    expect(running.take(Buffer.from('{"invocationId": 7}'))).toBeUndefined()
  })
})

describe('its key file', () => {
  it('keeps its key, takes another, and does not go on with what is no key', () => {
    const file = join(folder, 'k')
    const key = new KeyFile(file).load()
    expect(new KeyFile(file).load()).toBe(key)
    new KeyFile(file).save('n'.repeat(30))
    expect(new KeyFile(file).load()).toBe('n'.repeat(30))
    writeFileSync(file, '')
    expect(() => new KeyFile(file).load()).toThrow('holds no key')
  })
})

describe('signed requests', () => {
  const body = Buffer.from(
    '{"invocationId":"iv_1","command":"a","params":{},"principal":"ann","deadline":"2026-01-01T00:00:00.000Z"}',
  )
  const clock = new FakeClock()
  const signed = (secret: string, nonce: string, seconds = Math.floor(clock.wallMs() / 1000)) => ({
    'limb-time': String(seconds),
    'limb-nonce': nonce,
    'limb-signature': invokeSignature(secret, String(seconds), nonce, body),
  })

  it('cannot be cut into another time, nonce and body, in either version of the signature', () => {
    const calls = new SignedCalls(() => 'secret', clock)
    const dotted = Buffer.from('{"params":{"a":"x.{}"}}')
    const time = String(Math.floor(clock.wallMs() / 1000))
    const [one, two] = [
      invokeSignature('secret', time, 'n7', dotted),
      invokeSignature2('secret', time, 'n7', dotted),
    ]
    const cut = { 'limb-time': time, 'limb-nonce': 'n7.{"params":{"a":"x', 'limb-signature': one }
    const rest = dotted.subarray(dotted.indexOf('.') + 1)
    // The same bytes were signed: only the form of the nonce tells the two apart.
    expect(invokeSignature('secret', time, cut['limb-nonce'], rest)).toBe(one)
    expect(() => calls.check(cut, rest)).toThrow('signature')
    expect(() => calls.check({ ...cut, 'limb-signature-2': two }, rest)).toThrow('signature')
    const whole = {
      ...signed('secret', 'n8'),
      'limb-signature-2': invokeSignature2('other', time, 'n8', body),
    }
    expect(() => calls.check(whole, body)).toThrow('signature')
    const right = { ...whole, 'limb-signature-2': invokeSignature2('secret', time, 'n8', body) }
    expect(calls.check(right, body)).toMatchObject({})
  })

  it('are taken once, with the right secret, and of now', () => {
    const calls = new SignedCalls(() => 'secret', clock)
    const headers = signed('secret', 'n1')
    expect(calls.check(headers, body)).toMatchObject({ invocationId: 'iv_1' })
    expect(() => calls.check(headers, body)).toThrow('before')
    expect(() => calls.check(signed('other', 'n2'), body)).toThrow('signature')
    expect(() => calls.check({ ...signed('secret', 'n3'), 'limb-nonce': 'n4' }, body)).toThrow('signature')
    expect(() => calls.check(signed('secret', 'n5'), Buffer.from('{}'))).toThrow('signature')
    expect(() => calls.check(signed('secret', 'n6', Math.floor(clock.wallMs() / 1000) - 61), body)).toThrow(
      'of now',
    )
    expect(() => calls.check({}, body)).toThrow('signature')
    expect(() => new SignedCalls(() => undefined, clock).check(headers, body)).toThrow('signature')
  })
})
