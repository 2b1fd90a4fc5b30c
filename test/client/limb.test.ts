import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Calls, Limb, type LimbEvent, type LimbOptions, SignedCalls } from '../../src/client/client.ts'
import { KeyFile } from '../../src/client/key-file.ts'
import { invokeSignature } from '../../src/kernel/invoke-signature.ts'
import { startApp, type TestApp } from '../support/app.ts'
import type { Loose, TestClient } from '../support/client.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { agent } from '../support/worker.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-client-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

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

describe('its calls', () => {
  const call = (more: object = {}): Loose => ({
    invocationId: 'iv_1',
    command: 'camera.snap',
    params: {},
    principal: 'ann',
    deadline: '2099-01-01T00:00:00.000Z',
    ...more,
  })
  const calls = (handler: () => unknown) =>
    new Calls({ 'camera.snap': handler }, REGISTRATION.capabilities, () => 0)

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
