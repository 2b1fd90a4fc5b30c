import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { displayWidth } from '../../../src/cli/terminal/text.ts'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { type RunOptions, run, start } from '../run.ts'

/** The decisions about pairings on the command line, against the bridge itself. */

let app: TestApp & AsyncDisposable
let admin: TestClient
beforeEach(async () => {
  app = await startApp({}, { memory: true })
  admin = await app.admin()
})
afterEach(() => app[Symbol.asyncDispose]())

const local = (argv: string[], options?: RunOptions) =>
  run([...argv, '--socket', app.bridge.control], options)
const dialogue = (argv: string[], columns = 200) =>
  start([...argv, '--socket', app.bridge.control], { terminal: true, columns })

/** A device that waits for its approval, and what it was answered. */
async function waits(nodeId: string, registration: Loose = REGISTRATION, key = keyOf(nodeId)) {
  const device = await app.device(nodeId, key)
  await device.subscribe(`limb/node/${nodeId}/pairing`)
  await device.publish(`limb/node/${nodeId}/register`, registration)
  const { json } = await device.next(`limb/node/${nodeId}/pairing`)
  return { device, code: String(json.code), requestId: String(json.requestId) }
}

const spaced = (code: string) => [code.slice(0, 4), code.slice(4)]
const nodes = async (): Promise<string[]> =>
  (await admin.do('admin', 'node/list')).items.map((item: { nodeId: string }) => item.nodeId)

describe('what ends something', () => {
  test('says what follows, and asks, on a terminal; anything but yes ends nothing', async () => {
    await app.limb('cam1')
    const started = dialogue(['node', 'revoke', 'cam1'])
    await started.seen('Revoke cam1? [y/N]')
    expect(started.out()).toMatch(/cam1 \(Front camera, offline\) .*its session ends.*policies.*refused/)
    expect(started.out()).toContain('pairing forgive cam1')
    started.stdin.write('\n')
    expect(await started.exit).toMatchObject({ code: 1, err: expect.stringContaining('nothing was revoked') })
    expect(await nodes()).toEqual(['cam1'])
  })

  test('is done after a yes, and says until when what is refused is refused', async () => {
    await app.limb('cam1')
    const started = dialogue(['node', 'revoke', 'cam1'])
    await started.seen('[y/N]')
    started.stdin.write('y\n')
    const { code, out } = await started.exit
    expect([code, out]).toEqual([0, expect.stringMatching(/cam1 is revoked.*refused until 20.*\(in 24h\)/)])
    expect(await nodes()).toEqual([])
  })

  test('asks nobody with --yes, and nobody where nobody sits', async () => {
    await app.limb('cam1')
    await app.limb('cam2')
    expect((await dialogue(['node', 'revoke', 'cam1', '--yes']).exit).code).toBe(0)
    expect((await local(['node', 'revoke', 'cam2'])).out).toContain('pairing forgive cam2')
    expect(await nodes()).toEqual([])
  })

  test('is not asked about when there is no such limb', async () => {
    expect((await dialogue(['node', 'revoke', 'nobody']).exit).code).toBe(4)
  })

  test('a request is rejected after a question too, also when its code was typed', async () => {
    const { code, device } = await waits('cam1')
    const no = dialogue(['pairing', 'reject', ...spaced(code)])
    await no.seen('Reject the request of cam1? [y/N]')
    expect(no.out()).toContain('pairing forgive NODE')
    no.stdin.write('n\n')
    expect((await no.exit).code).toBe(1)
    const yes = await dialogue(['pairing', 'reject', ...spaced(code), '-y']).exit
    expect(yes.out).toMatch(/request of cam1 is rejected, and refused until .*\n.*pairing forgive cam1/)
    expect((await device.next('limb/node/cam1/pairing')).json).toMatchObject({ status: 'rejected' })
  })

  test('a principal is removed after a question', async () => {
    await admin.do('admin', 'principal/add', { name: 'ann', role: 'agent' })
    const started = dialogue(['principal', 'remove', 'ann'])
    await started.seen('Remove ann? [y/N]')
    started.stdin.write('yes\n')
    expect((await started.exit).out).toContain('ann is removed')
  })
})

describe('pairing list --state refused', () => {
  test('is a table of its own columns, and says when nothing is refused', async () => {
    expect((await local(['pairing', 'list', '--state', 'refused'])).out).toBe('Nothing is refused.\n')
    await app.limb('cam1')
    await local(['node', 'revoke', 'cam1'])
    const { out } = await local(['pairing', 'list', '--state', 'refused'])
    const [head = '', ...rows] = out.trimEnd().split('\n')
    expect(head.split(/ {2,}/)).toEqual(['NODE', 'WHY', 'AT', 'UNTIL'])
    for (const row of rows) expect(row).toMatch(/^cam1 +its pairing was revoked +\d+s ago +in 24h$/)
  })
})

describe('pairing approve', () => {
  test('takes a code that was pasted with its space, and several at once', async () => {
    const [one, two, three] = [await waits('cam1'), await waits('cam2'), await waits('cam3')]
    const { code, out } = await local(['pairing', 'approve', ...spaced(one.code), two.code, 'cam3'])
    expect([code, out]).toEqual([
      0,
      [1, 2, 3].map((n) => `cam${n} is approved; offline until its first heartbeat\n`).join(''),
    ])
    expect(await nodes()).toEqual(['cam1', 'cam2', 'cam3'])
    expect(three.requestId).toMatch(/^pr_/)
  })

  test('decides nothing when one of several is not there, and says which', async () => {
    const { code } = await waits('cam1')
    const ended = await local(['pairing', 'approve', code, 'cam9'])
    expect([ended.code, ended.err]).toEqual([4, expect.stringContaining('cam9')])
    expect(await nodes()).toEqual([])
  })

  test('of several, those that fail keep nobody else out, and end with 1', async () => {
    await waits('ann')
    await waits('cam1')
    await admin.do('admin', 'principal/add', { name: 'ann', role: 'viewer' })
    const ids = (await admin.do('admin', 'pairing/list')).items.map((item: Loose) => item.requestId)
    const gone = 'pr_0000000000000000'
    const { code, out, err } = await local(['pairing', 'approve', ...ids, gone])
    expect([code, err]).toEqual([1, expect.stringMatching(/^limb-bridge: \d of 3 were not decided$/m)])
    expect(out).toContain('cam1 is approved')
    expect(out).toContain(`${gone}: `)
  })

  test('refuses what is about one request beside several', async () => {
    await waits('cam1')
    await waits('cam2')
    const { code, err } = await local(['pairing', 'approve', 'cam1', 'cam2', '--area', 'Hall'])
    expect([code, err]).toEqual([2, expect.stringContaining('--area is about one request')])
  })

  test('of a limb that was named without its code shows what it adds and loosens, and asks', async () => {
    const camera = (commands: string[], authLevel: string) => [{ cap: 'camera', commands, authLevel }]
    const limb = await app.limb('cam1', { ...REGISTRATION, capabilities: camera(['camera.snap'], 'gated') })
    const wider = camera(['camera.snap', 'camera.delete-all'], 'free')
    await limb.publish('limb/node/cam1/register', { ...REGISTRATION, capabilities: wider })
    await limb.next('limb/node/cam1/pairing')
    const started = dialogue(['pairing', 'approve', 'cam1'], 60)
    await started.seen('Approve these capabilities of cam1? [y/N]')
    expect(started.out()).toMatch(/adds: +camera\.delete-all\n/)
    expect(started.out()).toMatch(/loosens: +camera from gated to free\n/)
    expect(started.out()).toContain('CAREFUL: it may do more freely')
    started.stdin.write('\n')
    expect((await started.exit).code).toBe(1)
    expect((await dialogue(['pairing', 'approve', 'cam1', '--yes']).exit).code).toBe(0)
  })

  test('by its code approves at once, for to type it is to compare it', async () => {
    const { code } = await waits('cam1')
    expect((await dialogue(['pairing', 'approve', code]).exit).code).toBe(0)
  })

  test('names the limb, says where it is and lowers its levels in the same step', async () => {
    await waits('cam1')
    const started = dialogue(['pairing', 'approve'])
    await started.seen('Which one?')
    started.stdin.write('\n')
    await started.seen('`c` changes')
    await started.seen('[y/N]')
    started.stdin.write('c\n')
    await started.seen('Its name? (Enter for Front camera)')
    started.stdin.write('Front door\n')
    await started.seen('Its area?')
    started.stdin.write('Hall\n')
    await started.seen('Level of camera? (gated, denied; Enter for leased)')
    started.stdin.write('free\n')
    await started.seen('It asks for leased: give gated or denied')
    started.stdin.write('gated\n')
    await started.seen('called Front door, in Hall, camera gated')
    started.stdin.write('y\n')
    expect((await started.exit).code).toBe(0)
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject({
      displayName: 'Front door',
      capabilities: [{ cap: 'camera', authLevel: 'gated' }],
    })
  })

  test('takes the code in the dialogue, as it stands there', async () => {
    await waits('cam1')
    const { code } = await waits('cam2')
    const started = dialogue(['pairing', 'approve', '--yes'])
    await started.seen('Which one?')
    started.stdin.write(`${spaced(code.toLowerCase()).join(' ')}\n`)
    expect((await started.exit).out).toContain('cam2 is approved')
    expect(await nodes()).toEqual(['cam2'])
  })
})

describe('pairing permit', () => {
  test('on a terminal asks whether it shall take those that wait, and takes them after a yes', async () => {
    await waits('cam1')
    const no = dialogue(['pairing', 'permit', '60'])
    await no.seen('Approve this one that waits already too, without a comparison? [y/N]')
    no.stdin.write('\n')
    expect((await no.exit).out).toMatch(/The pairing window is open and closes in [56]\ds/)
    expect(await nodes()).toEqual([])
    const yes = dialogue(['pairing', 'permit', '60'])
    await yes.seen('[y/N]')
    yes.stdin.write('y\n')
    expect((await yes.exit).out).toContain('Approved, for they waited: cam1.')
    expect(await nodes()).toEqual(['cam1'])
    expect((await dialogue(['pairing', 'permit', '0']).exit).out).toContain('The pairing window is closed.')
  })
})

describe('a table', () => {
  const LONG = {
    ...REGISTRATION,
    displayName: 'The camera above the door of the garage',
    platform: 'esp32-s3-wroom',
  }

  test.each([80, 60])('fits %i columns, and cuts nothing of what is approved', async (columns) => {
    const many = Array.from({ length: 9 }, (_, i) => `camera.turn-${i}`)
    const capabilities = [{ cap: 'camera', commands: many, authLevel: 'leased' }]
    await waits('garage-camera', { ...LONG, capabilities })
    await app.limb('shed', LONG)
    for (const argv of [
      ['node', 'list'],
      ['pairing', 'list'],
      ['status'],
      ['audit', 'list'],
      ['watch', '--once'],
    ]) {
      const { out } = await dialogue(argv, columns).exit
      const widest = Math.max(...out.split('\n').map(displayWidth))
      expect([argv, widest <= columns], out).toEqual([argv, true])
    }
    const { out } = await dialogue(['pairing', 'list'], columns).exit
    for (const command of many) expect(out).toContain(command)
  })

  test('is whole where no terminal is, unless COLUMNS says how wide it may be', async () => {
    await app.limb('shed', LONG)
    expect((await local(['node', 'list'])).out).toContain(LONG.displayName)
    const { out } = await local(['node', 'list'], { env: { COLUMNS: '80' } })
    expect(Math.max(...out.split('\n').map(displayWidth))).toBeLessThanOrEqual(80)
    expect(out).toContain('…')
  })
})

test('a list that is empty because of what was asked for says so, and not that there is nothing', async () => {
  await app.limb('cam1')
  const { out } = await local(['node', 'list', '--status', 'online'])
  expect(out).toBe('Nothing with status online. `limb-bridge node list` shows all there is.\n')
  expect((await local(['invocation', 'list', '--principal', 'ann'])).out).toContain('principal ann')
})

test('node history shows the uptime above the changes that it is made of', async () => {
  const limb = await app.limb('cam1')
  await limb.publish('limb/node/cam1/heartbeat', {})
  await limb.settle()
  const { out } = await local(['node', 'history', 'cam1'])
  expect(out).toMatch(/^cam1 was online for \d+s of \d+s( \([\d.]+ %\))?, since \d+s ago\.\nAT +STATUS/)
})
