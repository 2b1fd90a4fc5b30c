import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Core } from '../../src/bridge/core.ts'
import type { Authentication, Identity, Session } from '../../src/bridge/ports.ts'
import { keyOf } from '../support/app.ts'
import { patience } from '../support/patience.ts'
import { settled, start } from './fixture.ts'

/** The core on a real store that fails, or waits, when it is told, to the point. */

/** The core with an approved limb that is online, and somebody whose calls are answered one by one. */
async function startWithArm() {
  const started = await start()
  const { core, ask } = started
  const capabilities = [{ cap: 'arm', commands: ['arm.move'], authLevel: 'leased' }]
  await ask('node/provision', { nodeId: 'r1', apiKey: keyOf('r1'), capabilities })
  const session = { address: '127.0.0.1', alive: true, subscribedTo: () => true, end: () => {} }
  const told = vi.fn(() => true)
  const limb: Session = {
    ...session,
    identity: { kind: 'limb', nodeId: 'r1' },
    clientId: 'r1',
    send: told,
  }
  core.opened(limb)
  core.heartbeat(limb, Buffer.from(''))
  const askAs = (name: string, verb: string, args: object): Promise<Record<string, unknown>> =>
    new Promise((respond) => {
      const principal: Session = {
        ...session,
        identity: { kind: 'principal', name, role: 'agent', local: true },
        clientId: name,
        send: () => true,
        respond: (_verb, payload) => respond(JSON.parse(Buffer.from(payload).toString())),
      }
      const body = Buffer.from(JSON.stringify({ nodeId: 'r1', ...args }))
      void core.message(principal, { kind: 'request', principal: name, verb }, body)
    })
  const invoke = (args: object) => askAs('ann', 'invoke', { command: 'arm.move', ...args })
  return { ...started, askAs, invoke, told, limb }
}

interface Listed {
  readonly data: { readonly items: readonly { readonly awaitsLimbUntil?: string }[] }
}

const REVOKED = { ok: false, error: { code: 'not_found', message: 'r1 has been revoked' } }

test('a call whose limb is revoked while its lease is being stored is told that it was revoked', async () => {
  const { held, ask, invoke } = await startWithArm()
  const stored = Promise.withResolvers<void>()
  held.commits.push(stored.promise)
  const answer = invoke({})
  await settled()
  expect(held.commits).toEqual([])
  expect(await ask('node/revoke', { nodeId: 'r1' })).toMatchObject({ ok: true })
  stored.resolve()
  expect(await answer).toMatchObject(REVOKED)
})

test('a call whose limb is revoked while its place in the queue is being stored is told that it was revoked', async () => {
  const { held, ask, invoke } = await startWithArm()
  void invoke({})
  await settled()
  const read = Promise.withResolvers<void>()
  // The first looks for the key, the second counts the keys.
  held.reads.push(Promise.resolve(), read.promise)
  const answer = invoke({ waitSeconds: 60, idempotencyKey: 'k' })
  await settled()
  expect(held.reads).toEqual([])
  expect(await ask('node/revoke', { nodeId: 'r1' })).toMatchObject({ ok: true })
  await settled()
  read.resolve()
  expect(await answer).toMatchObject(REVOKED)
})

test('a patient call whose limb leaves while it is being stored waits again, in its place, and runs once on the next visit', async () => {
  const { core, held, ask, invoke, told, limb } = await startWithArm()
  const running = Promise.withResolvers<void>()
  // The lease is stored, then that it runs.
  held.commits.push(Promise.resolve(), running.promise)
  const first = invoke({ params: { n: 1 }, offlineWaitSeconds: 3600, idempotencyKey: 'k1' })
  await vi.waitFor(() => expect(held.commits).toEqual([]), patience(5000))
  core.closed(limb, 'lost')
  const second = invoke({
    params: { n: 2 },
    offlineWaitSeconds: 3600,
    waitSeconds: 60,
    idempotencyKey: 'k2',
  })
  running.resolve()
  const waiting = async () => {
    const answer = (await ask('invocation/list', { state: 'queued', order: 'oldest' })) as unknown as Listed
    return answer.data.items.filter(({ awaitsLimbUntil }) => awaitsLimbUntil !== undefined)
  }
  await vi.waitFor(async () => expect(await waiting()).toHaveLength(2), patience(5000))
  expect(told).not.toHaveBeenCalled()
  // No lease is held for a limb that is away.
  expect(await ask('lease/list', {})).toMatchObject({ data: { items: [] } })
  const again = { ...limb }
  core.opened(again)
  core.heartbeat(again, Buffer.from(''))
  core.subscribed(again)
  for (const n of [1, 2]) {
    await vi.waitFor(() => expect(told).toHaveBeenCalledTimes(n), patience(5000))
    const [, payload] = told.mock.calls[n - 1] as unknown as [string, Uint8Array]
    const { invocationId, params } = JSON.parse(Buffer.from(payload).toString())
    expect(params).toEqual({ n })
    const result = Buffer.from(JSON.stringify({ invocationId, success: true }))
    await core.message(again, { kind: 'node', nodeId: 'r1', leaf: 'result' }, result)
  }
  expect(await first).toMatchObject({ ok: true })
  expect(await second).toMatchObject({ ok: true })
  expect(told).toHaveBeenCalledTimes(2)
})

test('a call that is not patient, and whose limb leaves while it is being stored, ends as offline', async () => {
  const { core, held, invoke, told, limb } = await startWithArm()
  const running = Promise.withResolvers<void>()
  held.commits.push(Promise.resolve(), running.promise)
  const answer = invoke({ idempotencyKey: 'k1' })
  await vi.waitFor(() => expect(held.commits).toEqual([]), patience(5000))
  core.closed(limb, 'lost')
  running.resolve()
  expect(await answer).toMatchObject({ ok: false, error: { code: 'node_offline' } })
  expect(told).not.toHaveBeenCalled()
})

test('a lease that ended before it was stored was granted to nobody', async () => {
  const { held, ask, askAs, events } = await startWithArm()
  const stored = Promise.withResolvers<void>()
  held.commits.push(stored.promise)
  const answer = askAs('ann', 'lease/acquire', { capability: 'arm' })
  await settled()
  expect(held.commits).toEqual([])
  expect(await ask('node/revoke', { nodeId: 'r1' })).toMatchObject({ ok: true })
  stored.resolve()
  expect(await answer).toMatchObject({ ok: false, error: { code: 'expired' } })
  await settled()
  expect(events).toContain('lease_ended')
  expect(events).not.toContain('lease_granted')
})

test('whoever asks for a lease that another one has while the bridge stops is told that it stops', async () => {
  const { core, askAs } = await startWithArm()
  const arm = { capability: 'arm' }
  expect(await askAs('bob', 'lease/acquire', arm)).toMatchObject({ ok: true })
  await core.stop()
  expect(await askAs('ann', 'lease/acquire', { ...arm, waitSeconds: 60 })).toMatchObject({
    ok: false,
    error: { code: 'internal', message: expect.stringContaining('the bridge is stopping') },
  })
})

test('a call whose key is looked for while the bridge stops is not sent', async () => {
  const { core, held, invoke, told } = await startWithArm()
  const read = Promise.withResolvers<void>()
  held.reads.push(read.promise)
  const answer = invoke({ idempotencyKey: 'k' })
  await settled()
  expect(held.reads).toEqual([])
  const stopped = core.stop()
  read.resolve()
  expect(await answer).toMatchObject({
    ok: false,
    error: { code: 'internal', message: expect.stringMatching(/^bridge restarted/) },
  })
  await stopped
  expect(told).not.toHaveBeenCalled()
})

test('a call that waits for an operator ends in time, whatever a full disk and a clock that is set do meanwhile', async () => {
  const { clock, broken, ask, invoke } = await startWithArm()
  await ask('policy/set', { principal: '*', nodeId: 'r1', capability: 'arm', level: 'gated' })
  const answer = invoke({})
  await settled()
  const asked = (await ask('invocation/list', { state: 'waiting' })) as {
    data: { items: [{ invocationId: string }] }
  }
  const [{ invocationId }] = asked.data.items
  broken.commits = true
  clock.jumpWall(-86_400_000)
  expect(await ask('invocation/approve', { invocationId })).toMatchObject({
    error: { code: 'storage_unavailable' },
  })
  broken.commits = false
  clock.advance(299_999)
  expect(await ask('invocation/get', { invocationId })).toMatchObject({ data: { state: 'waiting' } })
  clock.advance(1)
  expect(await answer).toMatchObject({ error: { code: 'expired' } })
})

test('a revocation that is on disk is told as done, and what a full disk kept from following is tried again', async () => {
  const { clock, broken, ask, cleared, forgotten, log } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  broken.after = true
  expect(await ask('node/revoke', { nodeId: 'cam' })).toMatchObject({ ok: true })
  expect(await ask('node/get', { nodeId: 'cam' })).toMatchObject({ ok: false, error: { code: 'not_found' } })
  const warnings = log.warn.mock.calls.length
  for (let i = 0; i < 5; i++) {
    clock.advance(5000)
    await settled()
  }
  // Not told again and again.
  expect(log.warn.mock.calls.length).toBe(warnings)
  expect(cleared).not.toHaveBeenCalled()

  broken.after = false
  for (let i = 0; i < 3; i++) {
    clock.advance(5000)
    await settled()
  }
  expect(cleared).toHaveBeenCalledWith('cam')
  expect(forgotten).toHaveBeenCalledWith('cam')
})

test('what was left of a limb is not taken from the one that has its name by then', async () => {
  const { clock, broken, ask, cleared } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  broken.after = true
  await ask('node/revoke', { nodeId: 'cam' })
  broken.after = false
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('other') })
  for (let i = 0; i < 3; i++) {
    clock.advance(5000)
    await settled()
  }
  expect(cleared).not.toHaveBeenCalled()
})

test('a limb with its rotated key is let in although the disk is full, and its old key still counts', async () => {
  const { core, broken, ask } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  const rotated = (await ask('node/rotate-key', { nodeId: 'cam' })) as { data: { apiKey: string } }
  broken.commits = true
  for (const password of [rotated.data.apiKey, keyOf('cam')]) {
    const admission = await core.admit({
      clientId: 'cam',
      username: 'cam',
      password,
      address: '192.0.2.1',
      local: false,
      certificateName: undefined,
    })
    expect(admission).toEqual({ admitted: true, identity: { kind: 'limb', nodeId: 'cam' } })
  }
  broken.commits = false
})

test('a request that is approved in the moment of its expiry stays approved', async () => {
  const { core, clock, ask } = await start()
  const candidate: Session = {
    identity: { kind: 'candidate', nodeId: 'cam', key: keyOf('cam') },
    clientId: 'cam',
    address: '127.0.0.1',
    alive: true,
    subscribedTo: () => true,
    send: () => true,
    end: () => {},
  }
  core.opened(candidate)
  const registration = { displayName: 'Camera', platform: 'esp32', capabilities: [] }
  const register = { kind: 'node', nodeId: 'cam', leaf: 'register' } as const
  await core.message(candidate, register, Buffer.from(JSON.stringify(registration)))
  const [request] = [...core.pending.values()]
  clock.advance(59_500)
  const approved = ask('pairing/approve', { requestId: request?.requestId })
  clock.advance(1000)
  expect(await approved).toMatchObject({ ok: true })
  await settled()
  expect(await ask('pairing/list', {})).toMatchObject({ data: { items: [] } })
  expect([...core.pending.values()]).toEqual([])
})

test('a pairing window that is closed while its opening is being written stays closed', async () => {
  const { ask, log } = await start()
  await Promise.all([ask('pairing/permit', { seconds: 60 }), ask('pairing/permit', { seconds: 0 })])
  expect(log.info).toHaveBeenCalledWith({ by: 'admin' }, 'the pairing window is closed')
  expect(log.warn).not.toHaveBeenCalled()
})

test('a pairing window that cannot be put on record is not opened, and an open one is closed all the same', async () => {
  const { ask, broken, log } = await start()
  broken.commits = true
  expect(await ask('pairing/permit', { seconds: 60 })).toMatchObject({
    ok: false,
    error: { code: 'storage_unavailable' },
  })
  expect(log.warn).not.toHaveBeenCalled()
  broken.commits = false
  expect(await ask('pairing/permit', { seconds: 60 })).toMatchObject({ ok: true })
  broken.commits = true
  expect(await ask('pairing/permit', { seconds: 0 })).toMatchObject({
    ok: true,
    data: { pairingWindow: null },
  })
})

test('a pairing window keeps what was taken of it by an approval that could not be stored', async () => {
  const { ask, broken, register } = await start()
  const answersTo = async (nodeId: string) => {
    const told: (string | undefined)[] = []
    await register(nodeId, (_topic, { status }) => void told.push(status))
    return told
  }
  await ask('pairing/permit', { seconds: 60, max: 1 })
  broken.ends = true
  expect(await answersTo('one')).toEqual(['error'])
  broken.ends = false
  expect(await answersTo('two')).toEqual(['approved'])
  expect(await answersTo('three')).toEqual(['pending'])
})

const credentialsOf = (nodeId: string, password: string) => ({
  clientId: nodeId,
  username: nodeId,
  password,
  address: '192.0.2.1',
  local: false,
  certificateName: undefined,
})

/** A session as the broker opens it for whoever was let in. */
function sessionOf(admission: Authentication, nodeId: string) {
  if (!admission.admitted) throw new Error(admission.reason)
  return {
    identity: admission.identity,
    clientId: nodeId,
    address: '192.0.2.1',
    alive: true,
    subscribedTo: () => true,
    send: () => true,
    end: vi.fn(),
  }
}

const registering = (nodeId: string) => ({ kind: 'node', nodeId, leaf: 'register' }) as const
const registrationOf = (more: object = {}) =>
  Buffer.from(JSON.stringify({ displayName: 'Camera', platform: 'esp32', capabilities: [], ...more }))

test('a rotated key whose time is over makes nobody a limb by registering with it', async () => {
  const { core, clock, ask } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  await ask('node/rotate-key', { nodeId: 'cam' })
  clock.advance(86_400_001)
  const candidate = sessionOf(await core.admit(credentialsOf('cam', keyOf('cam'))), 'cam')
  core.opened(candidate)
  await core.message(candidate, registering('cam'), registrationOf())
  expect(candidate.identity).toMatchObject({ kind: 'candidate' })
  expect([...core.pending.values()]).toMatchObject([{ nodeId: 'cam', kind: 'replace' }])
})

test('a new key that is first used while its limb is revoked opens nothing', async () => {
  const { core, held, ask } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  const rotated = (await ask('node/rotate-key', { nodeId: 'cam' })) as { data: { apiKey: string } }
  const credentials = credentialsOf('cam', rotated.data.apiKey)
  const stored = Promise.withResolvers<void>()
  held.commits.push(stored.promise)
  const admission = core.admit(credentials)
  await settled()
  expect(held.commits).toEqual([])
  expect(await ask('node/revoke', { nodeId: 'cam' })).toMatchObject({ ok: true })
  stored.resolve()
  expect(await admission).toMatchObject({ admitted: false, code: 5 })
  expect(await core.admit(credentials)).toMatchObject({ admitted: false, code: 5 })
})

test('two connections that use a new key first at once both come in', async () => {
  const { core, ask } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  const rotated = (await ask('node/rotate-key', { nodeId: 'cam' })) as { data: { apiKey: string } }
  const credentials = credentialsOf('cam', rotated.data.apiKey)
  const limb = { admitted: true, identity: { kind: 'limb', nodeId: 'cam' } }
  expect(await Promise.all([core.admit(credentials), core.admit(credentials)])).toEqual([limb, limb])
})

const LIMB: Authentication = { admitted: true, identity: { kind: 'limb', nodeId: 'cam' } }

test('a limb that is lost while its longer timeout is being stored is offline after the grace', async () => {
  const { core, clock, held, ask } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  const limb = sessionOf(LIMB, 'cam')
  core.opened(limb)
  core.heartbeat(limb, Buffer.from(''))
  const stored = Promise.withResolvers<void>()
  held.commits.push(stored.promise)
  const registered = core.message(limb, registering('cam'), registrationOf({ heartbeatSeconds: 3600 }))
  await settled()
  core.closed(limb, 'lost')
  stored.resolve()
  await registered
  clock.advance(5100)
  expect(core.registry.get('cam')).toMatchObject({ status: 'offline', reason: 'connection_lost' })
})

test('a limb whose key is replaced within the grace of its lost connection is offline at once', async () => {
  const { core, ask } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  const limb = sessionOf(LIMB, 'cam')
  core.opened(limb)
  core.heartbeat(limb, Buffer.from(''))
  core.closed(limb, 'lost')
  const device = sessionOf(await core.admit(credentialsOf('cam', keyOf('other'))), 'cam')
  core.opened(device)
  await core.message(device, registering('cam'), registrationOf())
  const [request] = [...core.pending.values()]
  expect(await ask('pairing/approve', { requestId: request?.requestId })).toMatchObject({ ok: true })
  expect(core.registry.get('cam')?.status).toBe('offline')
  core.heartbeat(device, Buffer.from(''))
  expect(core.registry.get('cam')?.status).toBe('online')
})

describe('whoever was let in, and whose session opens later', () => {
  test.each([
    ['node/revoke', {}],
    ['node/rotate-key', { immediate: true }],
  ])('stays out when %s came in between', async (verb, args) => {
    const { core, ask } = await start()
    await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
    const limb = sessionOf(await core.admit(credentialsOf('cam', keyOf('cam'))), 'cam')
    expect(await ask(verb, { nodeId: 'cam', ...args })).toMatchObject({ ok: true })
    core.opened(limb)
    expect(limb.end).toHaveBeenCalledWith('refused', false)
    expect(core.sessionRoles.limb).toBe(0)
  })

  test('stays out when its key was replaced in between, and leaves the new device in', async () => {
    const { core, ask } = await start()
    await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
    const device = sessionOf(await core.admit(credentialsOf('cam', keyOf('other'))), 'cam')
    core.opened(device)
    await core.message(device, registering('cam'), registrationOf())
    const limb = sessionOf(await core.admit(credentialsOf('cam', keyOf('cam'))), 'cam')
    const [request] = [...core.pending.values()]
    expect(await ask('pairing/approve', { requestId: request?.requestId })).toMatchObject({ ok: true })
    core.opened(limb)
    expect(limb.end).toHaveBeenCalledWith('refused', false)
    expect(device.end).not.toHaveBeenCalled()
    const again = sessionOf(await core.admit(credentialsOf('cam', keyOf('other'))), 'cam')
    core.opened(again)
    expect(again.end).not.toHaveBeenCalled()
    expect(device.end).toHaveBeenCalledWith('replaced', false)
  })

  test.each([['principal/set-password'], ['principal/remove']])(
    'stays out when %s came in between',
    async (verb) => {
      const { core, ask } = await start()
      const added = (await ask('principal/add', { name: 'ann', role: 'agent' })) as {
        data: { password: string }
      }
      const ann = sessionOf(await core.admit(credentialsOf('ann', added.data.password)), 'ann')
      expect(await ask(verb, { name: 'ann' })).toMatchObject({ ok: true })
      core.opened(ann)
      expect(ann.end).toHaveBeenCalledWith('refused', false)
      expect(core.sessionRoles.agent).toBe(0)
    },
  )
})

test('a candidate is told the key that was made for it by the first registration that is stored', async () => {
  const { core, broken, held } = await start()
  const told: { status: string; apiKey?: string }[] = []
  const identity: Identity = { kind: 'candidate', nodeId: 'cam', key: undefined }
  const send = (_topic: string, payload: Uint8Array) =>
    told.push(JSON.parse(Buffer.from(payload).toString())) > 0
  const candidate = { ...sessionOf({ admitted: true, identity }, 'cam'), send }
  core.opened(candidate)
  broken.commits = true
  const first = core.message(candidate, registering('cam'), registrationOf())
  broken.commits = false
  const stored = Promise.withResolvers<void>()
  held.commits.push(stored.promise)
  const second = core.message(candidate, registering('cam'), registrationOf())
  await first
  stored.resolve()
  await second
  await core.message(candidate, registering('cam'), registrationOf())
  expect(told).toMatchObject([{ status: 'error' }, { status: 'pending' }, { status: 'pending' }])
  expect(told[1]?.apiKey).toHaveLength(43)
  expect(told[2]?.apiKey).toBeUndefined()
  expect(core.pending.size).toBe(1)
})

test('a newer session of a limb ends the one before, while the one before that still closes', async () => {
  const { core, ask } = await start()
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  const sessions = [1, 2, 3].map(() => {
    const session = { ...sessionOf(LIMB, 'cam'), end: vi.fn(() => Object.assign(session, { alive: false })) }
    core.opened(session)
    return session
  })
  expect(sessions.map(({ alive }) => alive)).toEqual([false, false, true])
  expect(await ask('node/revoke', { nodeId: 'cam' })).toMatchObject({ ok: true })
  expect(sessions[2]?.alive).toBe(false)
})

describe('a candidate that has gone while its registration was being stored', () => {
  async function goneWhileRegistering(meanwhile: (ask: Asked) => Promise<unknown>) {
    const { core, held, ask } = await start()
    const come = async () => {
      const admission = await core.admit(credentialsOf('cam', keyOf('cam')))
      const session = Object.assign(sessionOf(admission, 'cam'), { send: vi.fn(() => true) })
      core.opened(session)
      return session
    }
    const gone = await come()
    await meanwhile(ask)
    const stored = Promise.withResolvers<void>()
    held.commits.push(stored.promise)
    const registered = core.message(gone, registering('cam'), registrationOf())
    await settled()
    gone.alive = false
    core.closed(gone, 'lost')
    const finish = () => {
      stored.resolve()
      return registered
    }
    return { core, ask, come, finish }
  }
  type Asked = Awaited<ReturnType<typeof start>>['ask']

  test('does not take the place of the limb that it has come back as', async () => {
    const { core, ask, come, finish } = await goneWhileRegistering(async () => undefined)
    await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
    const back = await come()
    await finish()
    expect(back.end).not.toHaveBeenCalled()
    core.heartbeat(back, Buffer.from(''))
    expect(core.registry.get('cam')?.status).toBe('online')
  })

  test('is approved by the window as the connection with which it has come back', async () => {
    const { core, come, finish } = await goneWhileRegistering((ask) => ask('pairing/permit', { seconds: 60 }))
    const back = await come()
    await finish()
    expect(back.end).not.toHaveBeenCalled()
    expect(back.identity).toEqual({ kind: 'limb', nodeId: 'cam' })
    core.heartbeat(back, Buffer.from(''))
    expect(core.registry.get('cam')?.status).toBe('online')
  })
})

test('of several candidates with the key of a provisioned limb the newest is the limb, and the others are told', async () => {
  const { core, ask } = await start()
  const sessions = []
  for (let i = 0; i < 2; i++) {
    const admission = await core.admit(credentialsOf('cam', keyOf('cam')))
    const session = Object.assign(sessionOf(admission, 'cam'), { send: vi.fn(() => true) })
    core.opened(session)
    await core.message(session, registering('cam'), registrationOf())
    sessions.push(session)
  }
  await ask('node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  for (const { send } of sessions) {
    const [, payload] = send.mock.lastCall as unknown as [string, Uint8Array]
    expect(JSON.parse(Buffer.from(payload).toString())).toMatchObject({ status: 'approved' })
  }
  expect(sessions.map(({ end }) => end.mock.calls)).toEqual([[['replaced', true]], []])
})

test('a full disk keeps no bridge from starting that was killed while a call was under way', async () => {
  const { context, clock, broken, ask, invoke } = await startWithArm()
  void invoke({})
  await settled()
  clock.advance(10)
  await settled()
  expect(await ask('invocation/list', { state: 'running' })).toMatchObject({ data: { items: [{}] } })
  broken.commits = true
  const next = new Core(context)
  onTestFinished(() => next.stop())
  await next.load()
  next.ready()
  broken.commits = false
  for (let i = 0; i < 3; i++) {
    clock.advance(5000)
    await settled()
  }
  expect(await ask('invocation/list', {})).toMatchObject({ data: { items: [{ state: 'interrupted' }] } })
})
