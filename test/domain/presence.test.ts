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
import type { MonotonicMs, WallMs } from '../../src/kernel/clock.ts'
import { presenceRule } from '../../src/protocol/presence.ts'

const wall = (ms: number) => ms as WallMs
const mono = (ms: number) => ms as MonotonicMs
const GRACE = 5000
const TIMEOUT = 45_000
const RULE = presenceRule(null)

function limbWith(session: object): Presence {
  const presence = newPresence('bridge_restart', wall(0), TIMEOUT, RULE, null)
  sessionOpened(presence, session, wall(0))
  return presence
}

describe('presence', () => {
  it('comes back as offline after a restart, whatever it was', () => {
    const presence = newPresence('bridge_restart', wall(7), TIMEOUT, RULE, wall(3))
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
    expect(heartbeatReceived(presence, session, {}, wall(1000), mono(10))).toBe('status')
    expect(presence).toMatchObject({
      status: 'online',
      reason: 'heartbeat',
      since: 1000,
      deadline: 10 + TIMEOUT,
    })
    expect(deadlinePassed(presence, wall(2000))).toBe('status')
    expect(presence).toMatchObject({ status: 'offline', reason: 'timeout', since: 2000 })
  })

  it('keeps `since` while the status stays, and says nothing new', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, wall(1000), mono(0))
    expect(heartbeatReceived(presence, session, {}, wall(2000), mono(1))).toBe('none')
    expect(presence.since).toBe(1000)
    expect(presence.lastHeartbeatAt).toBe(2000)
  })

  it('reports a change of what is unavailable as a change of state only', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, wall(1), mono(1))
    expect(heartbeatReceived(presence, session, { unavailable: ['camera'] }, wall(2), mono(2))).toBe('state')
    expect(heartbeatReceived(presence, session, { unavailable: ['camera'] }, wall(3), mono(3))).toBe('none')
    expect(heartbeatReceived(presence, session, {}, wall(4), mono(4))).toBe('state')
  })

  it('goes offline at once when the limb itself says so', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, wall(1), mono(1))
    heartbeatReceived(presence, session, { status: 'offline' }, wall(2), mono(2))
    expect(presence).toMatchObject({ status: 'offline', reason: 'reported', deadline: Infinity })
  })

  it.each([
    ['disconnected', 'disconnected'],
    ['deregistered', 'deregistered'],
  ] as const)('goes offline at once when it %s', (event, reason) => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, wall(1), mono(1))
    expect(signedOff(presence, session, event, wall(2))).toBe('status')
    expect(presence).toMatchObject({ status: 'offline', reason })
  })

  it('gives a lost connection its grace, and the reason when it ends', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, wall(0), mono(0))
    connectionLost(presence, session, wall(0), mono(100), GRACE)
    expect(presence.deadline).toBe(100 + GRACE)
    deadlinePassed(presence, wall(9))
    expect(presence.reason).toBe('connection_lost')
  })

  it('forgets a lost connection when a heartbeat of the next one comes in time', () => {
    const first = {}
    const second = {}
    const presence = limbWith(first)
    heartbeatReceived(presence, first, {}, wall(0), mono(0))
    connectionLost(presence, first, wall(0), mono(100), GRACE)
    sessionOpened(presence, second, wall(0))
    heartbeatReceived(presence, second, {}, wall(200), mono(200))
    expect(presence).toMatchObject({ status: 'online', lost: false, deadline: 200 + TIMEOUT })
  })

  it('never lengthens a deadline when the connection is lost', () => {
    const session = {}
    const presence = limbWith(session)
    heartbeatReceived(presence, session, {}, wall(0), mono(0))
    connectionLost(presence, session, wall(0), mono(TIMEOUT - 1), GRACE)
    expect(presence.deadline).toBe(TIMEOUT)
  })

  it('lets nothing of an older session touch what the newer one said', () => {
    const event = fc.constantFrom('heartbeat', 'offline', 'disconnect', 'deregister', 'lost')
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), (events) => {
        const older = {}
        const newer = {}
        const presence = limbWith(older)
        heartbeatReceived(presence, older, {}, wall(0), mono(0))
        sessionOpened(presence, newer, wall(0))
        heartbeatReceived(presence, newer, { status: 'busy' }, wall(1), mono(1))
        const before = { ...presence }
        for (const kind of events) {
          if (kind === 'heartbeat') heartbeatReceived(presence, older, {}, wall(5), mono(5))
          else if (kind === 'offline')
            heartbeatReceived(presence, older, { status: 'offline' }, wall(5), mono(5))
          else if (kind === 'disconnect') signedOff(presence, older, 'disconnected', wall(5))
          else if (kind === 'deregister') signedOff(presence, older, 'deregistered', wall(5))
          else connectionLost(presence, older, wall(0), mono(5), GRACE)
        }
        expect(presence).toEqual(before)
      }),
    )
  })
})
