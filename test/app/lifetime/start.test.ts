import { spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { configuration } from '../../../src/host/process/command-line-config.ts'
import { launchBridge, type StartOptions, startBridge } from '../../support/bridge-process.ts'
import { connect } from '../../support/client.ts'
import { patience } from '../../support/patience.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-start-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
})

/** A port of this machine on which somebody else listens. */
async function takenPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** The exit code and the log of a start that fails. */
async function failedStart(settings: StartOptions['settings'], of = folder, env: StartOptions['env'] = {}) {
  const { ready, ended } = launchBridge({ folder: of, env, ...(settings && { settings }) })
  const { code } = await ended
  const words = await ready.then(
    () => '',
    (error: Error) => error.message,
  )
  const lines = words.split('\n').filter((line) => line.startsWith('{'))
  return { code, lines: lines.map((line) => JSON.parse(line)) }
}

describe('a start that fails for an everyday reason', { timeout: patience(60_000) }, () => {
  it('says a port or a socket in use once, without a stack, with the key to change', async () => {
    const port = await takenPort()
    const mqtt = await failedStart({ mqtt: { port } })
    expect(mqtt.code).toBe(1)
    expect(mqtt.lines.filter(({ level }) => level !== 'info')).toEqual([
      {
        level: 'fatal',
        time: expect.any(String),
        msg:
          `cannot start: cannot listen on 127.0.0.1:${port}: another program listens there; ` +
          'stop it, or choose another port or path (mqtt.host, mqtt.port)',
      },
    ])
    const http = await failedStart({ http: { port } })
    expect(http.lines.at(-1)).not.toHaveProperty('err')
    expect(http.lines.at(-1).msg).toMatch(/set http.host and http.port/)
  })

  it('says a database in use and a socket that cannot be made the same way', async () => {
    const running = await startBridge({ folder })
    onTestFinished(() => running.kill())
    const { lines } = await failedStart({})
    expect(lines).toHaveLength(1)
    expect(lines[0]).not.toHaveProperty('err')
    expect(lines[0].msg).toMatch(/in use by another bridge \(process \d+ .*store\.path \(LIMB_DB\)/)
    const store = { path: join(folder, 'other/limb.sqlite') }
    const socket = await failedStart({ store, control: { socket: running.control } })
    expect(socket.lines.at(-1).msg).toMatch(
      /control\.sock: another program listens there; .* \(control\.socket\)$/,
    )
  })
})

describe('a configuration that names a certificate file that is not there', {
  timeout: patience(60_000),
}, () => {
  const tls = { enabled: true, port: 0, certFile: '/nowhere/cert.pem', keyFile: '/nowhere' }

  it('ends the start as a mistake in it does, with the key and the file', async () => {
    const { code, lines } = await failedStart({ tls })
    expect(code).toBe(78)
    expect(lines).toHaveLength(1)
    expect(lines[0]).not.toHaveProperty('err')
    expect(lines[0].msg).toMatch(
      /^cannot start: tls\.(cert|key)File: cannot read \/nowhere.*: there is no such file$/,
    )
  })

  it('is warned of when it is checked, a file that only others may read is not', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    // Who is root may read it all the same, and must find nothing wrong with it.
    writeFileSync(join(folder, 'key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0 })
    const file = join(folder, 'checked.json')
    const uplink = { name: 'u', url: 'mqtts://broker.example', prefix: 'x', passwordFile: folder }
    const settings = {
      tls: { ...tls, keyFile: join(folder, 'key.pem') },
      uplinks: [uplink],
      invocation: { caFile: '/nowhere/limbs.pem' },
    }
    writeFileSync(file, JSON.stringify(settings))
    const loaded = await configuration.load(file, {})
    expect(loaded.ok && (await loaded.show()).warnings).toEqual([
      'tls.certFile: cannot read /nowhere/cert.pem: there is no such file',
      `uplinks[0].passwordFile: cannot read ${folder}: it is a folder`,
      'invocation.caFile: cannot read /nowhere/limbs.pem: there is no such file',
    ])
    writeFileSync(file, JSON.stringify({ tls: { ...settings.tls, enabled: false } }))
    const unused = await configuration.load(file, {})
    expect(unused.ok && (await unused.show()).warnings).toEqual([])
  })
})

describe('the password of admin', { timeout: patience(60_000) }, () => {
  const told = (lines: readonly string[]) =>
    lines.filter((line) => line.includes('password of the principal')).map((line) => JSON.parse(line).msg)

  it('is pointed at by every start while its file is there; a first start on a taken port keeps its welcome', async () => {
    await failedStart({ mqtt: { port: await takenPort() } })
    await failedStart({ mqtt: { port: await takenPort() } })
    const file = join(folder, 'admin-password')
    const welcome = `first start: the password of the principal admin is in ${file}`
    const again = `the password of the principal admin is in ${file}; delete that file when you need it no more`
    for (const expected of [welcome, again, again]) {
      const bridge = await startBridge({ folder })
      expect(await bridge.stop()).toBe(0)
      expect(told(bridge.lines)).toEqual([expected])
    }
    rmSync(file)
    const bridge = await startBridge({ folder })
    expect(await bridge.stop()).toBe(0)
    expect(told(bridge.lines)).toEqual([])
  })

  it('is not pointed at when it was changed since: the file is called stale', async () => {
    const first = await startBridge({ folder })
    const admin = await connect({ socket: first.control })
    await admin.do('admin', 'principal/set-password', { name: 'admin', password: 'another-password' })
    await admin.end()
    expect(await first.stop()).toBe(0)
    const bridge = await startBridge({ folder })
    expect(await bridge.stop()).toBe(0)
    expect(told(bridge.lines)).toEqual([])
    expect(bridge.lines.join()).toContain('holds a password that is no longer that of admin: delete the file')
  })

  it('is called that of the first start there, and a log that is no terminal has no lesson for newcomers', async () => {
    const bridge = await startBridge({ folder })
    expect(await bridge.stop()).toBe(0)
    expect(told(bridge.lines)).toEqual([
      `first start: the password of the principal admin is in ${join(folder, 'admin-password')}`,
    ])
    expect(bridge.lines.join()).not.toContain('next: ')
  })

  it('that was given and is none, or one that everybody guesses, stops the first start', async () => {
    const credentials = mkdtempSync(join(tmpdir(), 'limb-credentials-'))
    for (const password of ['', '\n', 'short']) {
      writeFileSync(join(credentials, 'admin-password'), password)
      const { code, lines } = await failedStart({}, folder, { CREDENTIALS_DIRECTORY: credentials })
      expect(code).toBe(78)
      expect(lines.map(({ msg }) => msg)).toEqual([
        'cannot start: the password of admin that was given (the credential admin-password) must have 8 to 256 characters',
      ])
    }
  })

  it('that was given is in no file, and the first start says so', async () => {
    writeFileSync(join(folder, 'admin-password'), 'given-password')
    const given = mkdtempSync(join(tmpdir(), 'limb-given-'))
    onTestFinished(() => rmSync(given, { recursive: true, force: true }))
    const bridge = await startBridge({ folder: given, env: { CREDENTIALS_DIRECTORY: folder } })
    expect(await bridge.stop()).toBe(0)
    expect(told(bridge.lines)).toEqual([
      'first start: the password of the principal admin is the one that was given',
    ])
  })
})

const scriptable = spawnSync('script', ['--version']).status === 0

it.skipIf(!scriptable)(
  'a first start on a terminal says what to try next, a later one does not',
  { timeout: patience(60_000) },
  async () => {
    const config = join(folder, 'terminal.json')
    const settings = {
      mqtt: { port: 0 },
      http: { enabled: false },
      store: { path: join(folder, 'limb.sqlite') },
    }
    writeFileSync(config, JSON.stringify(settings))
    const main = join(import.meta.dirname, '../../../src/main.ts')
    // script gives the bridge a terminal of its own.
    const start = (last: RegExp) =>
      new Promise<string>((done) => {
        const command = `exec ${process.execPath} ${main} serve --config ${config}`
        const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] })
        let text = ''
        let interrupted = false
        child.stdout.on('data', (chunk) => {
          text += chunk
          // The last line of a start, then the interrupt character.
          if (interrupted || !last.test(text)) return
          interrupted = true
          child.stdin.write('\x03')
        })
        child.on('close', () => done(text))
      })
    expect(await start(/next: /)).toContain(
      'next: ./limb-bridge simulate --nodes 5, then ./limb-bridge pairing approve',
    )
    expect(await start(/password of the principal admin is/)).not.toContain('next: ')
  },
)
