import { describe, expect, it, vi } from 'vitest'
import { FairQueue } from '../../../src/bridge/sign-in/fair-queue.ts'
import { PasswordChecks } from '../../../src/bridge/sign-in/password-checks.ts'
import { VerifiedPasswords } from '../../../src/bridge/sign-in/verified-passwords.ts'
import { connectPacket, DISCONNECT, dial } from '../../broker/wire.ts'
import { keyOf, startApp, type TestApp } from '../../support/app.ts'
import { patience } from '../../support/patience.ts'

const PASSWORD = 'a-password-of-dash'

async function withViewer(app: TestApp, name = 'dash'): Promise<void> {
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name, role: 'viewer', password: PASSWORD })
  await admin.end()
}

/** The CONNACK code of one sign-in; it leaves again at once. */
async function signIn(app: TestApp, username: string, password = PASSWORD): Promise<number> {
  const client = await dial({ port: app.bridge.mqtt.port })
  client.send(connectPacket({ username, password }))
  const { code } = await client.connack()
  if (code === 0) client.send(DISCONNECT)
  client.socket.destroy()
  return code
}

async function crowd(app: TestApp, count: number, atOnce: number): Promise<Record<number, number>> {
  const codes: Record<number, number> = {}
  let left = count
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left-- > 0) {
        const code = await signIn(app, 'dash')
        codes[code] = (codes[code] ?? 0) + 1
      }
    }),
  )
  return codes
}

describe('a crowd that signs in', () => {
  it('of 150 sessions of one viewer all get in at once, and a limb beside them does', async () => {
    await using app = await startApp({}, { memory: true, costlyPasswords: true })
    await app.limb('cam1')
    await withViewer(app)
    const all = crowd(app, 150, 150)
    const limb = await signIn(app, 'cam1', keyOf('cam1'))
    expect([limb, await all]).toEqual([0, { 0: 150 }])
  })

  it('of 10,000 sign-ins of one principal after a restart all get in', {
    timeout: patience(60_000),
  }, async () => {
    // Those of whom the bridge has not read yet that they went count as live.
    const mqtt = { port: 0, maxSessionsPerPrincipal: 1000 }
    await using app = await startApp({ mqtt, log: { level: 'info' } } as never, { costlyPasswords: true })
    await withViewer(app)
    await app.restart()
    expect(await crowd(app, 10_000, 400)).toEqual({ 0: 10_000 })
  })

  it('is no reason to keep a limb waiting, however many different passwords are to be hashed', async () => {
    await using app = await startApp({ mqtt: { port: 0, maxFailedSignIns: 1000 } } as never, {
      memory: true,
      costlyPasswords: true,
    })
    await app.limb('cam1')
    for (let i = 0; i < 12; i++) await withViewer(app, `dash${i}`)
    const answered = new Set<number>()
    const all = Array.from({ length: 12 }, async (_, i) => {
      await signIn(app, `dash${i}`)
      answered.add(i)
    })
    expect(await signIn(app, 'cam1', keyOf('cam1'))).toBe(0)
    expect(answered.size).toBeLessThan(12)
    await Promise.all(all)
  })

  it('with the old password gets in no more when it was changed, and none with a wrong one', async () => {
    await using app = await startApp({}, { memory: true })
    await withViewer(app)
    expect(await signIn(app, 'dash')).toBe(0)
    expect(await signIn(app, 'dash', `${PASSWORD}x`)).toBe(4)
    const admin = await app.admin()
    await admin.do('admin', 'principal/set-password', { name: 'dash', password: 'another-password' })
    expect(await signIn(app, 'dash')).toBe(4)
    expect(await signIn(app, 'dash', 'another-password')).toBe(0)
    await admin.do('admin', 'principal/remove', { name: 'dash' })
    expect(await signIn(app, 'dash', 'another-password')).toBe(0)
    const { items } = await admin.do('admin', 'session/list', { name: 'dash' })
    expect(items).toEqual([])
  })

  it('looks at no password, not even one that it knows, of a name that is shut out there', async () => {
    await using app = await startApp({ mqtt: { port: 0, maxFailedSignIns: 1 } } as never, { memory: true })
    await withViewer(app)
    expect(await signIn(app, 'dash')).toBe(0)
    expect(await signIn(app, 'dash', 'wrong')).toBe(4)
    expect(await signIn(app, 'dash')).toBe(3)
  })
})

/** Hashes that end when the test says so. */
function slowHashes() {
  const begun: string[] = []
  const ends: ((right: boolean) => void)[] = []
  const verified = new VerifiedPasswords()
  const checks = new PasswordChecks(verified, async (_hash, password) => {
    begun.push(password)
    return await new Promise<boolean>((resolve) => ends.push(resolve))
  })
  const check = (
    password: string,
    { address = '10.0.0.1', name = 'ops', isGone = (): boolean => false } = {},
  ) => checks.check({ name, passwordHash: 'hash', password, address, isGone })
  const end = async (right = true) => {
    ends.shift()?.(right)
    await vi.waitFor(() => undefined)
    await Promise.resolve()
  }
  return { begun, check, end, verified }
}

describe('verifying passwords', () => {
  it('costs one hash for all that wait with the same, and none the next time', async () => {
    const { begun, check, end } = slowHashes()
    const all = Promise.all(Array.from({ length: 1000 }, () => check('right')))
    await end()
    expect(new Set(await all)).toEqual(new Set(['right']))
    expect(await check('right')).toBe('right')
    expect(begun).toEqual(['right'])
  })

  it('costs nothing for who has gone, and something when one of them is still there', async () => {
    const { begun, check, end } = slowHashes()
    const first = [check('a'), check('b')]
    const gone = Array.from({ length: 200 }, (_, i) => check(`gone${i}`, { isGone: () => true }))
    const half = [check('half', { isGone: () => true }), check('half')]
    for (let i = 0; i < 3; i++) await end()
    expect(await Promise.all(first)).toEqual(['right', 'right'])
    expect(await Promise.all(half)).toEqual(['right', 'right'])
    expect(new Set(await Promise.all(gone))).toEqual(new Set(['gone']))
    expect(begun).toEqual(['a', 'b', 'half'])
  })

  it('gives addresses their turns, and refuses the newest of the one that asks for most', async () => {
    const { begun, check, end } = slowHashes()
    const guesses = Array.from({ length: 300 }, (_, i) => check(`guess${i}`, { name: `n${i}` }))
    const other = check('right', { address: '10.0.0.2' })
    for (let i = 0; i < 5; i++) await end(false)
    expect(begun.indexOf('right')).toBeLessThan(5)
    await end()
    const refused = await Promise.race([Promise.any(guesses.slice(-20)), other])
    expect(['busy', 'wrong']).toContain(refused)
  })

  it('drops the newest of the fullest group for a newcomer, and takes the groups in turn', () => {
    const dropped: string[] = []
    const queue = new FairQueue<string>(
      2,
      () => false,
      (item) => dropped.push(item),
    )
    queue.push('a', '1')
    queue.push('a', '2')
    queue.push('a', '3')
    queue.push('b', '4')
    expect([dropped, queue.next(), queue.next(), queue.next()]).toEqual([['3', '2'], '1', '4', undefined])
  })

  it('remembers a bounded number of names and no password', () => {
    const verified = new VerifiedPasswords(3)
    for (let i = 0; i < 10; i++) verified.add(`n${i}`, verified.digest(`n${i}`, 'hash', 'password'))
    expect(verified.size).toBe(3)
    expect(verified.has('n9', verified.digest('n9', 'hash', 'password'))).toBe(true)
    expect(verified.has('n9', verified.digest('n9', 'other hash', 'password'))).toBe(false)
    expect(verified.has('n8', verified.digest('n9', 'hash', 'password'))).toBe(false)
    expect(new VerifiedPasswords().digest('n', 'h', 'p')).not.toBe(verified.digest('n', 'h', 'p'))
    verified.forget('n9')
    expect(verified.has('n9', verified.digest('n9', 'hash', 'password'))).toBe(false)
  })
})
