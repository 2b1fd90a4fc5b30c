import { expect, test } from 'vitest'
import type { Session } from '../../../src/bridge/ports.ts'
import { settled, start } from '../fixture.ts'

const TIME_MS = 500
const STORED_MS = 250

/** The bridge with what was asked of it; `finish` begins a stop, and its `is` says how far it is. */
async function startStopping() {
  const bridge = await start()
  const finish = () => {
    const is = { finished: false }
    void bridge.core.finishRequests().then(() => {
      is.finished = true
    })
    return is
  }
  const names = async () => {
    const page = await bridge.context.store.read((tx) => tx.principals(undefined, 10))
    return page.items.map(({ name }) => name)
  }
  return { ...bridge, finish, names }
}

/** A promise that ends when told, for a read or a commit to wait for. */
function holding(line: Promise<void>[]): () => void {
  const { promise, resolve } = Promise.withResolvers<void>()
  line.push(promise)
  return resolve
}

const STOPS = { code: 'storage_unavailable', message: expect.stringContaining('the bridge is stopping') }

test('a stop waits for the answers of requests that are under way, some of which show a secret once, and takes no other one', async () => {
  const { ask, finish, held, names } = await startStopping()
  const commit = holding(held.commits)
  const answered = ask('principal/add', { name: 'ann', role: 'viewer' })
  const is = finish()
  expect(await ask('principal/add', { name: 'bob', role: 'viewer' })).toMatchObject({ error: STOPS })
  await settled()
  expect(is.finished).toBe(false)
  commit()
  expect(await answered).toMatchObject({ ok: true, data: { name: 'ann', password: expect.any(String) } })
  await expect.poll(() => is.finished).toBe(true)
  expect(await names()).toEqual(['ann'])
})

test('a stop waits until who has asked has taken the answer', async () => {
  const { core, finish } = await startStopping()
  const { promise, resolve: take } = Promise.withResolvers<void>()
  const session: Session = {
    identity: { kind: 'principal', name: 'ops', role: 'admin', local: false },
    clientId: 'ops',
    address: '192.0.2.1',
    alive: true,
    subscribedTo: () => true,
    send: () => true,
    end: () => {},
    whenTaken: () => promise,
  }
  const address = { kind: 'request', principal: 'ops', verb: 'node/list' } as const
  await core.message(session, address, Buffer.from('{}'))
  const is = finish()
  await settled()
  expect(is.finished).toBe(false)
  take()
  await settled()
  expect(is.finished).toBe(true)
})

test('what is not stored within half a second of a stop is not stored any more, and the request is refused', async () => {
  const { ask, clock, finish, held, names } = await startStopping()
  await ask('principal/add', { name: 'ann', role: 'viewer' })
  const read = holding(held.reads)
  const answered = ask('principal/remove', { name: 'ann' })
  const is = finish()
  clock.advance(TIME_MS)
  await settled()
  read()
  expect(await answered).toMatchObject({ ok: false, error: STOPS })
  await settled()
  expect(is.finished).toBe(true)
  expect(await names()).toEqual(['ann'])
})

test('a stop goes on after three quarters of a second, and says so when somebody is not answered', async () => {
  const { ask, clock, finish, held, log } = await startStopping()
  const commit = holding(held.commits)
  const answered = ask('token/add', { name: 'x', principal: 'nobody' })
  const is = finish()
  clock.advance(TIME_MS)
  await settled()
  clock.advance(STORED_MS - 1)
  await settled()
  expect(is.finished).toBe(false)
  clock.advance(1)
  await settled()
  expect(is.finished).toBe(true)
  expect(log.warn).toHaveBeenCalledWith({ unanswered: 1 }, expect.stringContaining('before all requests'))
  commit()
  await answered
})
