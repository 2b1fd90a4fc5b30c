import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  connectionLost,
  deadlinePassed,
  heartbeatReceived,
  newPresence,
  type Presence,
  sessionOpened,
  signedOff,
} from '../../src/domain/presence.ts'
import type { MonotonicMs } from '../../src/kernel/clock.ts'
import type { SteadyMs } from '../../src/kernel/steady-clock.ts'
import { presenceRule } from '../../src/protocol/presence.ts'

const at = (ms: number) => ms as SteadyMs
const mono = (ms: number) => ms as MonotonicMs
const GRACE = 5000
const TIMEOUT = 45_000
const RULE = presenceRule(undefined)

function limbWith(session: object): Presence {
  const presence = newPresence('bridge_restart', at(0), TIMEOUT, RULE, undefined)
  sessionOpened(presence, session, at(0))
  return presence
}

describe('presence', () => {
  it('comes back as offline after a restart, whatever it was', () => {
    const presence = newPresence('bridge_restart', at(7), TIMEOUT, RULE, at(3))
    expect(presence).toMatchObject({
      status: 'offline',
      reason: 'bridge_restart',
      since: 7,
      lastHeartbeatAt: 3,
    })
  })

  it('turns online at a heartbeat and offline when the deadline passes', () => {
    const session = {}
    const presence = limbWith(session)
    expect(heartbeatReceived(presence, session, {}, at(1000), mono(10))).toBe('status')
    expect(presence).toMatchObject({
      status: 'online',
      reason: 'heartbeat',
      since: 1000,
      deadline: 10 + TIMEOUT,
    })
    expect(deadlinePassed(presence, at(2000))).toBe('status')
    expect(presence).toMatchObject({ status: 'offline', reason: 'timeout', since: 2000 })
  })

  it('keeps `since` while the status stays, and says nothing new', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, at(1000), mono(0))
    expect(heartbeatReceived(presence, session, {}, at(2000), mono(1))).toBe('none')
    expect(presence.since).toBe(1000)
    expect(presence.lastHeartbeatAt).toBe(2000)
  })

  it('reports a change of what is unavailable as a change of state only', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, at(1), mono(1))
    expect(heartbeatReceived(presence, session, { unavailable: ['camera'] }, at(2), mono(2))).toBe('state')
    expect(heartbeatReceived(presence, session, { unavailable: ['camera'] }, at(3), mono(3))).toBe('none')
    expect(heartbeatReceived(presence, session, {}, at(4), mono(4))).toBe('state')
  })

  it('goes offline at once when the limb itself says so', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, at(1), mono(1))
    heartbeatReceived(presence, session, { status: 'offline' }, at(2), mono(2))
    expect(presence).toMatchObject({ status: 'offline', reason: 'reported', deadline: Infinity })
  })

  it.each([
    ['disconnected', 'disconnected'],
    ['deregistered', 'deregistered'],
  ] as const)('goes offline at once when it %s', (event, reason) => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, at(1), mono(1))
    expect(signedOff(presence, session, event, at(2))).toBe('status')
    expect(presence).toMatchObject({ status: 'offline', reason })
  })

  it('gives a lost connection its grace, and the reason when it ends', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, at(0), mono(0))
    connectionLost(presence, session, at(0), mono(100), GRACE)
    expect(presence.deadline).toBe(100 + GRACE)
    deadlinePassed(presence, at(9))
    expect(presence.reason).toBe('connection_lost')
  })

  it('forgets a lost connection when a heartbeat of the next one comes in time', () => {
    const first = {}
    const second = {}
    const presence = limbWith(first)
    heartbeatReceived(presence, first, {}, at(0), mono(0))
    connectionLost(presence, first, at(0), mono(100), GRACE)
    sessionOpened(presence, second, at(0))
    heartbeatReceived(presence, second, {}, at(200), mono(200))
    expect(presence).toMatchObject({ status: 'online', lost: false, deadline: 200 + TIMEOUT })
  })

  it('never lengthens a deadline when the connection is lost', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, at(0), mono(0))
    connectionLost(presence, session, at(0), mono(TIMEOUT - 1), GRACE)
    expect(presence.deadline).toBe(TIMEOUT)
  })

  it('lets nothing of an older session touch what the newer one said', () => {
    const event = fc.constantFrom('heartbeat', 'offline', 'disconnect', 'deregister', 'lost')
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), (events) => {
        const older = {}
        const newer = {}
        const presence = limbWith(older)
        heartbeatReceived(presence, older, {}, at(0), mono(0))
        sessionOpened(presence, newer, at(0))
        heartbeatReceived(presence, newer, { status: 'busy' }, at(1), mono(1))
        const before = { ...presence }
        for (const kind of events) {
          if (kind === 'heartbeat') heartbeatReceived(presence, older, {}, at(5), mono(5))
          else if (kind === 'offline')
            heartbeatReceived(presence, older, { status: 'offline' }, at(5), mono(5))
          else if (kind === 'disconnect') signedOff(presence, older, 'disconnected', at(5))
          else if (kind === 'deregister') signedOff(presence, older, 'deregistered', at(5))
          else connectionLost(presence, older, at(0), mono(5), GRACE)
        }
        expect(presence).toEqual(before)
      }),
    )
  })
})
