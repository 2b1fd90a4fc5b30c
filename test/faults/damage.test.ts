import {
  closeSync,
  copyFileSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchBridge, startBridge } from '../support/bridge-process.ts'
import { connect } from '../support/client.ts'
import { run } from '../support/command.ts'
import { patience } from '../support/patience.ts'
import { adminOf, limbOf, provision, readiness, running, temporaryFolder } from './fixture.ts'

const MAIN = resolve(import.meta.dirname, '../../src/main.ts')

const limbBridge = (...args: string[]) => run(process.execPath, [MAIN, ...args])

/** Turns one bit of each page around, as a dying disk does. */
function flipBits(file: string): void {
  const handle = openSync(file, 'r+')
  const bytes = readFileSync(file)
  for (let at = 4096 + 3; at < bytes.length; at += 4096) {
    writeSync(handle, Buffer.of((bytes[at] ?? 0) ^ 0x40), 0, 1, at)
  }
  closeSync(handle)
}

const damages: readonly [string, (file: string) => void][] = [
  ['cut off in the middle', (file) => truncateSync(file, Math.floor(statSync(file).size / 2 / 4096) * 4096)],
  ['cut off within its first page', (file) => truncateSync(file, 1000)],
  ['with bits turned around', flipBits],
]

/** Made once: everything is in the database itself, and it ended uncleanly, so that a start looks at every page. */
let prepared: string
let backupName: string

beforeAll(async () => {
  prepared = mkdtempSync(join(tmpdir(), 'limb-damage-'))
  const first = await startBridge({ folder: prepared })
  const admin = await connect({ socket: first.control })
  await provision(admin, ...Array.from({ length: 40 }, (_, i) => `cam-${i}`))
  const { file } = await admin.do('admin', 'backup/create')
  backupName = basename(file)
  const busy = await limbBridge('restore', file, '--config', join(prepared, 'limb-bridge.yaml'))
  expect(busy).toMatchObject({ code: 1, lines: [expect.stringMatching(/in use by another bridge/)] })
  admin.mqtt.end(true)
  await first.stop()
  const second = await startBridge({ folder: prepared })
  const again = await connect({ socket: second.control })
  await again.do('admin', 'node/rename', { nodeId: 'cam-0', displayName: 'later' })
  again.mqtt.end(true)
  await second.kill()
}, patience(120_000))

afterAll(() => rmSync(prepared, { recursive: true, force: true }))

test.each(damages)(
  'a database %s stops the start with the way to restore, and that way works',
  { timeout: patience(120_000) },
  async (_name, spoil) => {
    const folder = temporaryFolder()
    for (const name of ['limb.sqlite', 'limb.sqlite-wal', 'backups']) {
      cpSync(join(prepared, name), join(folder, name), { recursive: true })
    }
    spoil(join(folder, 'limb.sqlite'))

    const refused = launchBridge({ folder })
    await expect(refused.ready).rejects.toThrow(/limb-bridge restore/)
    expect(await refused.ended).toEqual({ code: 1, signal: null })
    const backup =
      /limb-bridge restore (\S+\.sqlite)`/.exec(String(await refused.ready.catch(String)))?.[1] ?? ''
    expect(backup).toBe(join(folder, 'backups', backupName))
    const config = join(folder, 'limb-bridge.yaml')
    const examined = await limbBridge('doctor', '--config', config)
    expect(examined.code).toBe(1)
    expect(examined.lines.join('\n')).toMatch(/PROBLEM +database .*limb-bridge restore/)

    const restored = await limbBridge('restore', backup, '--config', config)
    expect(restored, restored.lines.join('\n')).toMatchObject({ code: 0 })
    const aside = readdirSync(folder).filter((name) => /\.replaced-\d{8}T\d{9}Z$/.test(name))
    expect(aside).toHaveLength(1)
    const again = await running({ folder })
    await limbOf(again, 'cam-39')
    expect((await (await adminOf(again)).do('admin', 'node/list', { limit: 1000 })).items).toHaveLength(40)
    expect(await readiness(again)).toMatchObject({ ready: true })
  },
)

test('a backup that is damaged, or no backup at all, is not restored', {
  timeout: patience(120_000),
}, async () => {
  const folder = temporaryFolder()
  const config = join(folder, 'limb-bridge.yaml')
  const bridge = await running({ folder })
  const admin = await adminOf(bridge)
  await provision(admin, ...Array.from({ length: 40 }, (_, i) => `cam-${i}`))
  const { file: backup } = await admin.do('admin', 'backup/create')
  expect(statSync(backup).mode & 0o777).toBe(0o600)
  await bridge.stop()
  const before = readFileSync(join(folder, 'limb.sqlite'))

  const bad = join(folder, 'bad.sqlite')
  copyFileSync(backup, bad)
  flipBits(bad)
  for (const from of [bad, config, join(folder, 'nothing'), join(folder, 'limb.sqlite')]) {
    const { code, lines } = await limbBridge('restore', from, '--config', config)
    expect(code, lines.join('\n')).toBe(1)
  }
  expect(readFileSync(join(folder, 'limb.sqlite'))).toEqual(before)
  expect(readdirSync(folder).filter((name) => /restoring|replaced/.test(name))).toEqual([])
})
