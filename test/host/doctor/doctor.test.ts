import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { checkCertificate } from '../../../src/host/doctor/certificates.ts'
import type { CheckResult } from '../../../src/host/doctor/check-result.ts'
import { type DatabaseTools, doctor } from '../../../src/host/doctor/doctor.ts'
import type { WallMs } from '../../../src/kernel/clock.ts'
import { systemClock } from '../../../src/kernel/clock.ts'
import { inspectDatabase } from '../../../src/store/sqlite/backup/inspect.ts'
import { holderOf } from '../../../src/store/sqlite/backup/restore.ts'
import { startBridge } from '../../support/bridge-process.ts'
import { patience } from '../../support/patience.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-doctor-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
})

const healthy: DatabaseTools = {
  inspect: () => ({ version: 1, nodes: 3, problems: [] }),
  holder: () => undefined,
  missing: () => undefined,
  whyNoBackupsIn: () => undefined,
  waitingDeliveries: () => new Map(),
  newestBackup: async () => ({ folder: 'backups', at: systemClock.wallMs() }),
  server: async () => 'there is no server',
}

function examine(tools: Partial<DatabaseTools> = {}, env: Record<string, string> = {}, clock = systemClock) {
  const file = join(folder, 'limb.sqlite')
  writeFileSync(file, 'x', { flag: 'a', mode: 0o600 })
  return doctor({
    file: undefined,
    env: { LIMB_DB: file, LIMB_MQTT_PORT: '0', LIMB_HTTP_PORT: '0', ...env },
    clock,
    database: { ...healthy, ...tools },
  })
}

const told = (findings: readonly CheckResult[], level: CheckResult['level']) =>
  findings.filter((finding) => finding.level === level).map(({ what, message }) => `${what}: ${message}`)

test('finds nothing wrong with what is right', async () => {
  const findings = await examine()
  expect(told(findings, 'problem')).toEqual([])
  expect(findings.map(({ what }) => what)).toEqual(
    expect.arrayContaining([
      'configuration',
      'folder',
      'disk',
      'database',
      'backup',
      'MQTT',
      'control socket',
      'clock',
    ]),
  )
})

test('a mistake in the configuration is told with its place, and nothing is guessed from it', async () => {
  const findings = await examine({}, { LIMB_MQTT_PORT: 'many' })
  expect(told(findings, 'problem')).toEqual([
    expect.stringMatching(/^configuration: LIMB_MQTT_PORT: mqtt.port/),
  ])
  expect(findings).toHaveLength(1)
})

test('files and folders that others can read or write are told with the command that helps', async () => {
  chmodSync(folder, 0o777)
  writeFileSync(join(folder, 'limb.sqlite'), '')
  chmodSync(join(folder, 'limb.sqlite'), 0o644)
  expect(told(await examine(), 'problem')).toEqual([
    expect.stringContaining(`chmod go-w ${folder}`),
    expect.stringContaining(`chmod 600 ${join(folder, 'limb.sqlite')}`),
  ])
})

test('a damaged database, a port in use and a clock in 1970 are problems; an old backup is a warning', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void other.close())
  const { port } = other.address() as { port: number }
  const findings = await examine(
    {
      inspect: () => ({ version: 1, nodes: 0, problems: ['page 3 is torn'] }),
      newestBackup: async () => ({ folder: 'backups', at: 0 }),
    },
    { LIMB_MQTT_PORT: String(port) },
    { ...systemClock, wallMs: () => (90 * 86_400_000) as WallMs },
  )
  const problems = told(findings, 'problem').join('\n')
  expect(problems).toMatch(/database: .*page 3 is torn.*limb-bridge restore/)
  expect(problems).toMatch(/MQTT: .*another program/)
  expect(problems).toMatch(/clock: .*1970/)
  expect(told(findings, 'warning').join('\n')).toMatch(/backup: the newest one in backups is of 1970/)
})

test('a database that this user cannot open is no damaged one, and an empty file is none yet', async () => {
  const problems = ['it cannot be read: unable to open database file']
  const closed = told(
    await examine({ inspect: () => ({ version: 0, nodes: 0, problems, unopened: true }) }),
    'problem',
  )
  expect(closed).toEqual([
    expect.stringMatching(
      /unable to open database file; it must be readable.*run the doctor as the bridge's user/,
    ),
  ])
  expect(closed.join()).not.toContain('restore')
  writeFileSync(join(folder, 'limb.sqlite'), '')
  const empty = await doctor({
    file: undefined,
    env: { LIMB_DB: join(folder, 'limb.sqlite'), LIMB_MQTT_PORT: '0', LIMB_HTTP_PORT: '0' },
    clock: systemClock,
    database: { ...healthy, inspect: () => ({ version: 0, nodes: 0, problems: ['no database of ours'] }) },
  })
  expect(told(empty, 'problem')).toEqual([])
  expect(told(empty, 'ok').join()).toMatch(/limb.sqlite is empty; the next start makes it a database/)
})

test('of a database that is missing it says what a start would, where an earlier one left something', async () => {
  const nowhere = { LIMB_DB: join(folder, 'gone.sqlite') }
  const said = async (found: { refused: boolean; text: string } | undefined) =>
    (await examine({ missing: () => found }, nowhere)).filter(({ what }) => what === 'database')
  expect(await said(undefined)).toMatchObject([
    { level: 'ok', message: expect.stringMatching(/is not there yet/) },
  ])
  expect(await said({ refused: true, text: 'no start' })).toEqual([
    { what: 'database', level: 'problem', message: 'no start' },
  ])
  expect(await said({ refused: false, text: 'an empty one' })).toEqual([
    { what: 'database', level: 'warning', message: 'an empty one' },
  ])
})

test('when it cannot be told whether a bridge runs, that is the problem, and nothing follows from it', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void other.close())
  const { port } = other.address() as { port: number }
  mkdirSync(join(folder, 'limb.sqlite.lock'))
  const findings = await examine(
    { holder: (file) => holderOf(file, systemClock.wallMs()) },
    { LIMB_MQTT_PORT: String(port) },
  )
  expect(told(findings, 'problem')).toEqual([
    expect.stringMatching(
      /^bridge: this user cannot tell whether one runs \(The lock .*limb.sqlite.lock cannot be taken.*\); run the doctor as/,
    ),
  ])
  expect(told(findings, 'warning')[0]).toMatch(/^MQTT: .* whether by the bridge cannot be told/)
})

test('files of TLS that are missing are told when something uses them', async () => {
  const file = join(folder, 'bridge.yaml')
  const about = async (enabled: boolean) => {
    writeFileSync(
      file,
      `tls: {enabled: ${enabled}, port: 0, certFile: ${folder}/gone, keyFile: ${folder}/gone}\n`,
    )
    return told(await examine({}, { LIMB_CONFIG: file }), 'problem')
  }
  const problems = await about(true)
  for (const key of ['tls.certFile', 'tls.keyFile']) expect(problems.join()).toContain(`${key}: cannot read`)
  expect(await about(false)).toEqual([])
})

test('a certificate that ends soon, ended or cannot be read is told', () => {
  expect(checkCertificate('tls.cert', join(folder, 'none.pem'), 0)).toMatchObject([{ level: 'problem' }])
})

test('beside a running bridge, its ports and socket are asked, and it is not disturbed', {
  timeout: patience(60_000),
}, async () => {
  const bridge = await startBridge({ folder })
  onTestFinished(() => bridge.kill())
  const findings = await doctor({
    file: undefined,
    env: {
      LIMB_DB: join(folder, 'limb.sqlite'),
      LIMB_MQTT_PORT: String(bridge.mqtt.port),
      LIMB_HTTP_PORT: String(bridge.http?.port),
      LIMB_CONTROL_SOCKET: bridge.control,
    },
    clock: systemClock,
    database: {
      ...healthy,
      inspect: (file) => inspectDatabase(file, { readonly: true }),
      holder: (file) => holderOf(file, systemClock.wallMs()),
    },
  })
  expect(told(findings, 'problem')).toEqual([])
  const all = told(findings, 'ok').join('\n')
  expect(all).toMatch(new RegExp(`^bridge: a bridge runs \\(process ${bridge.pid} on .*, since .*Z\\)$`, 'm'))
  expect(all).toMatch(/MQTT: .* answers/)
  expect(all).toMatch(/control socket: .* answers/)
  expect(await bridge.stop()).toBe(0)
})

test('webhooks: files that cannot be used are named without what is in them, and what waits is told', async () => {
  const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const standard = { url: 'https://hooks.example/', secret }
  const config = file(
    'webhooks.yaml',
    JSON.stringify({
      webhooks: [
        { name: 'good', url: standard.url, secretFile: file('good', `${secret}\n${secret}\n`) },
        { name: 'waits', ...standard },
        { name: 'fails', ...standard },
        { name: 'typed', url: standard.url, secretFile: file('typed', `${secret}\nmy own password\n`) },
        { name: 'empty', url: standard.url, secretFile: file('empty', '\n') },
        { name: 'gone', url: standard.url, secretFile: join(folder, 'nowhere') },
        { name: 'open', format: 'slack', urlFile: file('open', 'http://hooks.example/T0/very-secret\n') },
        { name: 'odd', format: 'slack', urlFile: file('odd', 'very-secret\n') },
        {
          name: 'bot',
          format: 'telegram',
          chat: '1',
          url: 'https://api.telegram.org',
          tokenFile: file('bot', ''),
        },
        { name: 'handed', url: standard.url, secretFile: '%d/hook' },
      ],
    }),
  )
  const waiting = new Map([
    ['waits', { count: 1, attempts: 0 }],
    ['fails', { count: 12, attempts: 7 }],
  ])
  const findings = (await examine({ waitingDeliveries: () => waiting }, { LIMB_CONFIG: config })).filter(
    ({ what, message }) => /^webhook /.test(what) || message.includes('webhooks['),
  )
  expect(told(findings, 'ok')).toEqual([
    expect.stringMatching(/^webhook good: carries invocation_waiting, .*; nothing waits$/),
    'webhook waits: 1 delivery waits',
    expect.stringMatching(/^webhook gone: /),
    expect.stringMatching(/^webhook handed: /),
  ])
  expect(told(findings, 'warning')).toEqual([
    expect.stringMatching(/^webhook fails: 12 deliveries wait, tried up to 7 times; .*webhook test fails/),
  ])
  expect(told(findings, 'problem')).toEqual([
    `configuration: webhooks[5].secretFile: cannot read ${join(folder, 'nowhere')}: there is no such file`,
    expect.stringMatching(/^webhook typed: secretFile: .*typed: its line 2 is not `whsec_`/),
    expect.stringMatching(/^webhook empty: secretFile: .*empty holds no secret$/),
    expect.stringMatching(/^webhook open: urlFile: .*open holds an http:\/\/ URL/),
    expect.stringMatching(/^webhook odd: urlFile: .*odd holds no http:\/\/ or https:\/\/ URL/),
    expect.stringMatching(/^webhook bot: tokenFile: .*bot holds no token$/),
  ])
  expect(JSON.stringify(findings)).not.toMatch(/very-secret|my own password|whsec_B/)
})

test('of a database on a server it looks at the server, and at no file', async () => {
  const env = { LIMB_STORE: 'postgres', LIMB_STORE_URL: 'postgres://limb@db.example/limb' }
  const sound = {
    version: '15.1',
    tls: 'TLSv1.3',
    schema: 2,
    nodes: 3,
    holder: undefined,
    waiting: new Map(),
    problems: [],
    warnings: [],
  }
  const findings = await examine({ server: async () => sound }, env)
  expect(told(findings, 'problem')).toEqual([])
  expect(told(findings, 'ok')).toContain(
    'database: PostgreSQL 15.1, TLSv1.3: schema limb of version 2, 3 limbs',
  )
  expect(findings.map(({ what }) => what)).not.toContain('folder')
  const away = await examine({ server: async () => 'it does not answer' }, env)
  expect(told(away, 'problem')).toContain('database: it does not answer')
  const wrong = { ...sound, problems: ['it is a standby'], warnings: ['fsync is off'] }
  const bad = await examine({ server: async () => wrong }, env)
  expect(told(bad, 'problem')).toContain('database: it is a standby')
  expect(told(bad, 'warning')).toContain('database: fsync is off')
})
