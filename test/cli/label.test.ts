import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { labelOf } from '../../src/cli/verbs/label.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { run } from './run.ts'

describe('a label of a limb', () => {
  it.each([
    ['192.168.1.5', 'mqtt://cam1:KEY@192.168.1.5:1883', 'host 192.168.1.5, port 1883'],
    ['fd00::5', 'mqtt://cam1:KEY@[fd00::5]:1883', 'host [fd00::5], port 1883'],
    ['bridge.lan:2883', 'mqtt://cam1:KEY@bridge.lan:2883', 'host bridge.lan, port 2883'],
    ['mqtts://bridge.lan', 'mqtts://cam1:KEY@bridge.lan:8883', 'host bridge.lan, port 8883, TLS'],
  ])('for %s leads there', (address, url, line) => {
    expect(labelOf('cam1', 'KEY', address)).toEqual({ url, lines: ['cam1', line, 'user cam1', 'key KEY'] })
  })

  it.each(['', 'a b', 'http://x', 'mqtt://eve:pw@x', 'bridge.lan/path', 'x:99999'])(
    'for %j is refused',
    (address) => {
      expect(() => labelOf('cam1', 'KEY', address)).toThrow(/is no host/)
    },
  )
})

describe('node provision', () => {
  let app: TestApp & AsyncDisposable
  let folder: string
  beforeEach(async () => {
    app = await startApp({}, { memory: true })
    folder = mkdtempSync(join(tmpdir(), 'limb-label-'))
  })
  afterEach(async () => {
    rmSync(folder, { recursive: true, force: true })
    await app[Symbol.asyncDispose]()
  })

  const provision = (...more: string[]) =>
    run(['node', 'provision', ...more, '--socket', app.bridge.control, '--address', '192.168.1.5'])

  it('--qr --sticker shows the code, and writes a picture that nobody else reads', async () => {
    const file = join(folder, 'cam1.svg')
    const { code, out, err } = await provision('cam1', '--qr', '--sticker', file)
    expect([code, err]).toEqual([0, expect.stringContaining('holds the key')])
    expect(out).toMatch(/█▀▀▀▀▀▀▀█/)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const key = /key: *(\S+)/i.exec(out)?.[1] ?? /apiKey *(\S+)/.exec(out)?.[1]
    expect(readFileSync(file, 'utf8')).toContain(`key ${key}`)
  })

  it('--json stays a document, with the code beside it', async () => {
    const { code, out, err } = await provision('cam2', '--qr', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(out).apiKey).toEqual(expect.any(String))
    expect(err).toMatch(/█▀▀▀▀▀▀▀█/)
  })

  it('overwrites no picture, and says that the limb is there', async () => {
    const file = join(folder, 'cam3.svg')
    await provision('cam3', '--sticker', file)
    const { code, err } = await provision('cam4', '--sticker', file)
    expect([code, err]).toEqual([2, expect.stringMatching(/EEXIST.*the limb is provisioned/)])
  })
})
