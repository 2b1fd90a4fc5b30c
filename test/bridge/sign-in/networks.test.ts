import { describe, expect, test } from 'vitest'
import type { Credentials } from '../../../src/bridge/ports.ts'
import { Attempts } from '../../../src/bridge/sign-in/attempts.ts'
import { keyOf } from '../../support/app.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { settled, start } from '../fixture.ts'

/** Who can come from 2^64 addresses, or from many networks, is not told 2^64 times. */

const MINUTE_MS = 60_000

/** Three addresses of one IPv6 network, and one of another. */
const ADDRESSES = ['2001:db8:0:1::1', '2001:db8:0:1::2', '2001:db8:0:1:ffff::3', '2001:db8:0:2::1']

const from = (address: string): Credentials => ({
  clientId: 'c',
  username: 'cam1',
  password: keyOf('another'),
  address,
  local: false,
  certificateName: undefined,
})

/** The addresses of the lines of a kind, with the numbers of those that were held back. */
const told = (warn: { mock: { calls: [object, string][] } }, words: string) =>
  warn.mock.calls
    .filter(([, message]) => message.includes(words))
    .map(([fields]) => fields as { address: string; suppressed: number })
    .map(({ address, suppressed }) => [address, suppressed])

describe('the addresses of one IPv6 network are one', () => {
  test('for lines about wrong keys', async () => {
    const { core, ask, log, clock } = await start()
    await ask('node/provision', { nodeId: 'cam1', apiKey: keyOf('cam1'), capabilities: [] })
    for (const address of ADDRESSES)
      expect(await core.admit(from(address))).toMatchObject({ identity: { kind: 'candidate' } })
    const lines = () => told(log.warn as never, 'with another key than the approved one')
    expect(lines()).toEqual([
      [ADDRESSES[0], 0],
      [ADDRESSES[3], 0],
    ])
    clock.advance(MINUTE_MS)
    expect(lines().slice(2)).toEqual([[ADDRESSES[2], 1]])
  })

  test('for lines about client certificates that stand for no limb', async () => {
    const { core, log, clock } = await start()
    for (const address of ADDRESSES)
      await core.admit({ ...from(address), certificateName: 'Front Camera #1' })
    const lines = () => told(log.warn as never, 'the client certificate from')
    expect(lines()).toEqual([
      [ADDRESSES[0], 0],
      [ADDRESSES[3], 0],
    ])
    clock.advance(MINUTE_MS)
    expect(lines().slice(2)).toEqual([[ADDRESSES[2], 1]])
  })

  test('for the failed handshakes that are remembered, so that one network pushes no other out', () => {
    const attempts = new Attempts(new FakeClock())
    attempts.handshakeFailed('192.0.2.7', 'no certificate')
    for (let i = 0; i < 1000; i++) attempts.handshakeFailed(`2001:db8:0:1::${i.toString(16)}`, `${i}`)
    expect(attempts.handshakes.map(({ address, reason }) => [address, reason])).toEqual([
      ['2001:db8:0:1::3e7', '999'],
      ['192.0.2.7', 'no certificate'],
    ])
  })
})

describe('refused sign-ins from many networks', () => {
  test('have a bound for all in lines, events and rows, and the others are counted', async () => {
    const { core, log, clock, events, context } = await start()
    const refused = { username: 'cam1', clientId: 'c', why: 'keepalive', reason: 'keepalive' } as const
    for (let i = 0; i < 3000; i++) core.refused({ ...refused, address: `10.0.${i >> 8}.${i & 255}` } as never)
    // Two hundred, and the one that the others share.
    expect(log.warn.mock.calls.length).toBe(201)
    clock.advance(2 * MINUTE_MS)
    await settled()
    const lines = log.warn.mock.calls.filter(([, message]) => String(message).startsWith('CONNECT refused'))
    const bound = 3 * 201
    expect(lines.length).toBeGreaterThan(200)
    expect(lines.length).toBeLessThan(bound)
    expect(events.length).toBeLessThan(bound)
    const suppressed = lines.reduce((sum, [fields]) => sum + (fields as { suppressed: number }).suppressed, 0)
    expect(lines.length + suppressed).toBe(3000)
    const filter = { kind: 'signin.refused' }
    const rows = await context.store.read((tx) => tx.auditRows(filter, 'oldest', undefined, 1000))
    expect(rows.items.length).toBe(lines.length)
  })

  test('hide no wrong password, and not who is shut out', async () => {
    const { core, ask, log } = await start()
    await ask('principal/add', { name: 'ops', role: 'operator', password: 'ops-has-a-long-password' })
    const refused = { clientId: 'c', address: '10.0.0.1', why: 'keepalive', reason: 'keepalive' } as const
    for (let i = 0; i < 1000; i++) core.refused({ ...refused, username: `n${i}` } as never)
    for (let i = 0; i < 1000; i++) await core.admit({ ...from('10.0.0.1'), username: '?'.repeat(i + 1) })
    const guess = { ...from('10.0.0.1'), username: 'ops', password: 'no' }
    expect(await core.admit(guess)).toMatchObject({ code: 4 })
    const lines = log.warn.mock.calls.map(([fields]) => fields as { name: string; reason: string })
    expect(lines.at(-1)).toMatchObject({ name: 'ops', reason: 'wrong password' })
  })
})
