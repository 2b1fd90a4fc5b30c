import { describe, expect, it, onTestFinished } from 'vitest'
import { type Bridge, openBridge } from '../../../src/cli/session/session.ts'
import type { ConnectionTarget } from '../../../src/cli/session/target.ts'
import { startApp } from '../../support/app.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { type FakeBridge, startFakeBridge } from '../fake-bridge.ts'

/** How a session that stays comes back to its bridge. */

const targetOf = (url: string, more: Partial<ConnectionTarget> = {}): ConnectionTarget => ({
  endpoint: { kind: 'url', url, ca: undefined },
  principal: 'ann',
  password: 'right-password',
  root: 'limb',
  ...more,
})

async function open(target: ConnectionTarget) {
  const clock = new FakeClock()
  const session = await openBridge(target, { clock, reconnect: true, random: () => 1 })
  onTestFinished(async () => {
    const closing = session.close()
    clock.advance(1000)
    await closing
  })
  const heard: boolean[] = []
  let wake = () => {}
  session.onConnection((connected) => {
    heard.push(connected)
    wake()
  })
  /** The next loss or return of the connection that was not looked at yet. */
  async function next(): Promise<boolean | undefined> {
    while (heard.length === 0) {
      await new Promise<void>((done) => {
        wake = done
      })
    }
    return heard.shift()
  }
  return { session, clock, next }
}

/** From now on the bridge hears nothing. Resolves when it has been told something. */
const deafen = (bridge: FakeBridge) =>
  new Promise<void>((done) => {
    bridge.onUnheard = done
  })

const codeOf = async (session: Bridge) => await session.request('node/list', {}).catch((error) => error.name)

describe('a session that stays', () => {
  it('tries again two seconds after a loss', async () => {
    const bridge = await startFakeBridge()
    onTestFinished(() => bridge.stop())
    bridge.answers['node/list'] = () => ({ items: [] })
    const { session, clock, next } = await open(targetOf(bridge.url))
    for (let i = 0; i < 2; i++) {
      bridge.dropAll()
      expect(await next()).toBe(false)
      expect(await codeOf(session)).toBe('CliError')
      clock.advance(2000)
      expect(await next()).toBe(true)
      expect(await session.request('node/list', {})).toEqual({ items: [] })
    }
  })

  it('does not send a request again whose sender was told that it is lost', async () => {
    const bridge = await startFakeBridge()
    onTestFinished(() => bridge.stop())
    bridge.answers['node/list'] = () => ({ items: [] })
    const { session, clock, next } = await open(targetOf(bridge.url))
    const unheard = deafen(bridge)
    const lost = session.request('invoke', { command: 'camera.snap' }).catch((error) => error.message)
    await unheard
    bridge.dropAll()
    expect(await lost).toContain('whether the request was carried out is not known')
    expect(await next()).toBe(false)
    bridge.onUnheard = undefined
    clock.advance(2000)
    expect(await next()).toBe(true)
    await session.request('node/list', {})
    expect(bridge.requests.map(({ verb }) => verb)).toEqual(['node/list'])
  })

  it('is closed at once while its connection is lost, also when a request went with it', async () => {
    const bridge = await startFakeBridge()
    onTestFinished(() => bridge.stop())
    const { session, clock, next } = await open(targetOf(bridge.url))
    const unheard = deafen(bridge)
    const lost = codeOf(session)
    await unheard
    bridge.dropAll()
    expect(await lost).toBe('CliError')
    expect(await next()).toBe(false)
    await session.close()
    expect(clock.timers).toBe(0)
  })

  it('is closed within a second although its bridge acknowledges nothing', async () => {
    const bridge = await startFakeBridge()
    onTestFinished(() => bridge.stop())
    const { session, clock, next } = await open(targetOf(bridge.url))
    const unheard = deafen(bridge)
    const lost = codeOf(session)
    await unheard
    const closing = session.close()
    clock.advance(1000)
    await closing
    expect(await next()).toBe(false)
    expect(await lost).toBe('CliError')
  })

  it('that is refused tries once a minute, says so, and is back when its password works again', async () => {
    const options = { password: 'right-password' }
    const bridge = await startFakeBridge(options)
    onTestFinished(() => bridge.stop())
    bridge.answers['node/list'] = () => ({ items: [] })
    const { session, clock, next } = await open(targetOf(bridge.url))
    const signIns: boolean[] = []
    bridge.onSignIn = (accepted) => signIns.push(accepted)
    options.password = 'another'
    bridge.dropAll()
    expect(await next()).toBe(false)
    clock.advance(2000)
    for (let refused = 1; refused <= 3; refused++) {
      expect(await next()).toBe(false)
      expect(await codeOf(session)).toBe('SignInRefused')
      clock.advance(59_999)
      // An attempt takes its timer away; there is one as long as none is made.
      expect([clock.timers, signIns.length]).toEqual([1, refused])
      if (refused === 3) options.password = 'right-password'
      clock.advance(1)
    }
    expect(await next()).toBe(true)
    expect(await session.request('node/list', {})).toEqual({ items: [] })
    expect(signIns).toEqual([false, false, false, true])
    bridge.dropAll()
    expect(await next()).toBe(false)
    clock.advance(2000)
    expect(await next()).toBe(true)
  })

  it('reads its password anew, so that a new one in its file is enough', async () => {
    const options = { password: 'right-password' }
    const bridge = await startFakeBridge(options)
    onTestFinished(() => bridge.stop())
    let inFile = 'right-password'
    const { clock, next } = await open(targetOf(bridge.url, { passwordNow: () => inFile }))
    options.password = 'a new one'
    inFile = 'a new one'
    bridge.dropAll()
    expect(await next()).toBe(false)
    clock.advance(2000)
    expect(await next()).toBe(true)
  })

  it('whose principal was removed is let in as nobody, takes that for a refusal, and is back when it is added again', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const ann = { name: 'ann', role: 'viewer', password: 'right-password' }
    await admin.do('admin', 'principal/add', ann)
    const { session, clock, next } = await open(targetOf(`mqtt://127.0.0.1:${app.bridge.mqtt.port}`))
    await admin.do('admin', 'principal/remove', { name: 'ann' })
    expect(await next()).toBe(false)
    clock.advance(2000)
    // For the bridge, who signs in under a name that nobody has is a device that wants to be paired.
    expect(await next()).toBe(true)
    expect(await next()).toBe(false)
    expect(await codeOf(session)).toBe('SignInRefused')
    await admin.do('admin', 'principal/add', ann)
    clock.advance(59_999)
    expect(clock.timers).toBe(1)
    clock.advance(1)
    expect(await next()).toBe(true)
    expect(await session.request('node/list', {})).toEqual({ items: [] })
  })
})
