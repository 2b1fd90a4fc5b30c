import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../support/app.ts'
import { Command, run } from '../support/command.ts'
import { needs } from '../support/needs.ts'

needs('mosquitto-clients')

type App = Awaited<ReturnType<typeof startApp>>

const registration = JSON.stringify(REGISTRATION)
const at = (app: App) => ['-h', '127.0.0.1', '-p', String(app.bridge.mqtt.port), '-V', '311', '-q', '1']
const as = (name: string, password: string) => ['-u', name, '-P', password]
const adminOf = (app: App) => as('admin', readFileSync(join(app.folder, 'admin-password'), 'utf8').trim())
const sub = (app: App, who: string[], ...rest: string[]) =>
  new Command('mosquitto_sub', [...at(app), ...who, '-v', ...rest])
const pub = (app: App, who: string[], ...rest: string[]) =>
  run('mosquitto_pub', [...at(app), ...who, ...rest])

describe('with mosquitto_pub and mosquitto_sub', () => {
  it('a device is registered, approved, online, and back after a restart', async () => {
    await using app = await startApp()
    const admin = adminOf(app)
    await using watcher = sub(app, admin, '-t', 'limb/node/+/status', '-t', 'limb/bridge/status')
    await watcher.line('limb/bridge/status online')

    // mosquitto_rr subscribes for the answer and publishes the question: the shortest way to pair by hand.
    const me = as('cam1', keyOf('cam1'))
    const asked = await run('mosquitto_rr', [
      ...[...at(app), ...me, '-t', 'limb/node/cam1/register', '-e', 'limb/node/cam1/pairing'],
      ...['-m', registration, '-W', '60'],
    ])
    const answer = JSON.parse(asked.lines.join(''))
    expect(answer).toMatchObject({ status: 'pending', code: expect.stringMatching(/^[B-Z]{8}$/) })

    await using responses = sub(app, admin, '-t', 'limb/principal/admin/response/#', '-t', 'limb/bridge/info')
    await responses.line(/^limb\/bridge\/info /)
    await pub(
      app,
      admin,
      '-t',
      'limb/principal/admin/request/pairing/approve',
      '-m',
      JSON.stringify({ requestId: answer.requestId }),
    )
    expect(await responses.line(/response\/pairing\/approve/)).toContain('"ok":true')
    await watcher.line('limb/node/cam1/status offline')

    await using limb = new Command('mosquitto_pub', [
      ...at(app),
      ...me,
      '-t',
      'limb/node/cam1/heartbeat',
      '-l',
    ])
    limb.say('{}')
    await watcher.line('limb/node/cam1/status online')
    limb.say('{"status":"busy"}')
    await watcher.line('limb/node/cam1/status busy')

    await app.restart()
    await watcher.line('limb/node/cam1/status offline')
    await using again = new Command('mosquitto_pub', [
      ...at(app),
      ...me,
      '-t',
      'limb/node/cam1/heartbeat',
      '-l',
    ])
    again.say('{}')
    await watcher.line('limb/node/cam1/status online')
  })

  it('the retained view is there for whoever comes late, and -R leaves it out', async () => {
    await using app = await startApp()
    await app.limb('cam1')
    await using watcher = sub(
      app,
      adminOf(app),
      '-t',
      'limb/node/+/status',
      '-t',
      'limb/bridge/#',
      '--retained-only',
      '-W',
      '60',
      '-F',
      '%r %t',
    )
    await watcher.line('1 limb/node/cam1/status')
    await watcher.line('1 limb/bridge/info')
    await watcher.line('1 limb/bridge/status')
  })

  it.each([
    ['a principal with a wrong password', () => as('admin', 'wrong-password'), /bad user name or password/i],
    ['a name that is no name', () => as('../etc', 'x'), /bad user name or password/i],
  ])('%s is refused with a code that says so', async (_, who, text) => {
    await using app = await startApp()
    const { code, lines } = await run('mosquitto_sub', [
      ...at(app),
      ...who(),
      '-t',
      'limb/bridge/status',
      '-W',
      '60',
    ])
    expect(code).not.toBe(0)
    expect(lines.join('\n')).toMatch(text)
  })

  it('a filter that is not granted is refused, and the session lives', async () => {
    await using app = await startApp()
    await using everything = sub(
      app,
      adminOf(app),
      '-d',
      '-t',
      'limb/node/+/invoke',
      '-t',
      'limb/bridge/status',
    )
    await everything.line(/Subscribed .*: 128, 1/)
    await everything.line('limb/bridge/status online')
  })

  it('a persistent session gets what it missed, over a restart too', async () => {
    await using app = await startApp()
    const device = await app.limb('cam1')
    const session = ['-i', 'late', '-c', '-t', 'limb/node/+/data/#']
    await using first = sub(app, adminOf(app), ...session, '-E')
    expect(await first.ended).toBe(0)
    await device.publish('limb/node/cam1/data/a', '1')
    await device.publish('limb/node/cam1/data/a', '2')
    await app.restart()
    await using second = sub(app, adminOf(app), ...session)
    await second.line('limb/node/cam1/data/a 1')
    await second.line('limb/node/cam1/data/a 2')
  })

  it('last words of a limb are said on its own data, and its lost connection is seen by the bridge itself', async () => {
    await using app = await startApp({ presence: { graceSeconds: 0 } })
    await app.limb('cam1')
    await using watcher = sub(app, adminOf(app), '-t', 'limb/node/+/status', '-t', 'limb/node/+/data/#')
    await watcher.line('limb/node/cam1/status offline')
    await using limb = new Command('mosquitto_pub', [
      ...[...at(app), ...as('cam1', keyOf('cam1')), '-t', 'limb/node/cam1/heartbeat', '-l'],
      ...['--will-topic', 'limb/node/cam1/data/will', '--will-payload', 'gone'],
    ])
    limb.say('{}')
    await watcher.line('limb/node/cam1/status online')
    limb.child.kill('SIGKILL')
    await watcher.line('limb/node/cam1/data/will gone')
    await watcher.line('limb/node/cam1/status offline')
    expect(watcher.lines).toEqual([])
  })
})
