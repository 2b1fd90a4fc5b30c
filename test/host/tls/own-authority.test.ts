import { X509Certificate } from 'node:crypto'
import { chownSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  authorityFiles,
  initAuthority,
  isName,
  machineNames,
  OwnCertificate,
} from '../../../src/host/tls/own-authority.ts'
import { run } from '../../cli/run.ts'
import { startApp } from '../../support/app.ts'
import { needs } from '../../support/needs.ts'

needs('openssl')

const DAY_MS = 86_400_000

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'limb-tls-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

const certificate = (path: string) => new X509Certificate(readFileSync(path))

describe('an authority of the bridge', () => {
  it('makes a certificate for every name and address, with keys that nobody else reads', async () => {
    const path = join(await folder(), 'tls')
    const made = await initAuthority(path, ['bridge.lan', '192.168.7.9', 'fd00::1:2', ...machineNames()])
    const [ca, cert] = [certificate(made.files.ca), certificate(made.files.cert)]
    expect(cert.checkIssued(ca) && cert.verify(ca.publicKey)).toBe(true)
    expect([ca.ca, cert.ca]).toEqual([true, false])
    expect(cert.checkHost('bridge.lan')).toBe('bridge.lan')
    for (const address of ['192.168.7.9', 'fd00::1:2', '127.0.0.1', '::1'])
      expect(cert.checkIP(address)).toBeTruthy()
    for (const key of [made.files.key, made.files.caKey]) expect(statSync(key).mode & 0o777).toBe(0o600)
    expect(readdirSync(path).sort()).toEqual(['bridge-key.pem', 'bridge.pem', 'ca-key.pem', 'ca.pem'])
    expect(made.fingerprint).toBe(ca.fingerprint256)
  })

  it('stays when it is made again, and is never made anew without its key', async () => {
    const path = await folder()
    const first = await initAuthority(path, ['a.lan'])
    const again = await initAuthority(path, ['b.lan'])
    expect([again.madeAuthority, again.fingerprint]).toEqual([false, first.fingerprint])
    expect(certificate(again.files.cert).checkHost('b.lan')).toBe('b.lan')
    rmSync(first.files.caKey)
    await expect(initAuthority(path, ['c.lan'])).rejects.toThrow(/is there without its key/)
  })

  it.each([
    '',
    'a b',
    '-x.lan',
    "x'; CN=y",
    'x\nbasicConstraints=CA:TRUE',
    '1.2.3.4.5.',
    'ü.lan',
    'fe80::1%eth0',
  ])('makes none for %j, which is no name', async (name) => {
    expect(isName(name)).toBe(false)
    await expect(initAuthority(await folder(), [name])).rejects.toThrow(
      /neither an IP address nor a host name/,
    )
  })

  it('renews its certificate two months before the end, or when the machine has a new name, and keeps the old ones', async () => {
    const path = await folder()
    const { files, until, fingerprint } = await initAuthority(path, ['a.lan', 'fd00::1'])
    const own = await OwnCertificate.of(files.cert, files.key)
    const before = certificate(files.cert)
    expect(await own?.renewIfDue(until.getTime() - 61 * DAY_MS, ['a.lan', 'fd00::1'])).toBeUndefined()
    expect(certificate(files.cert).fingerprint256).toBe(before.fingerprint256)
    expect(await own?.renewIfDue(until.getTime() - 59 * DAY_MS, ['a.lan'])).toMatch(/would have ended/)
    expect(await own?.renewIfDue(Date.now(), ['b.lan'])).toBe('the machine is now b.lan too')
    const after = certificate(files.cert)
    expect([after.checkHost('a.lan'), after.checkHost('b.lan')]).toEqual(['a.lan', 'b.lan'])
    expect(certificate(files.ca).fingerprint256).toBe(fingerprint)
  })

  it('renews nothing that something else has made', async () => {
    const path = await folder()
    const { files } = await initAuthority(path, ['a.lan'])
    expect(await OwnCertificate.of(files.cert, join(path, 'other.pem'))).toBeUndefined()
    rmSync(files.caKey)
    expect(await OwnCertificate.of(files.cert, files.key)).toBeUndefined()
  })

  it('is trusted by a client that has ca.pem, on a bridge with the settings that `tls init` prints', async () => {
    const path = await folder()
    const { code, out } = await run(['tls', 'init', '--folder', path, '--name', 'Bridge.LAN'], {
      maintenance: (await import('../../../src/assembly/maintenance.ts')).maintenance,
    })
    expect(code).toBe(0)
    const { ca, cert, key } = authorityFiles(path)
    expect(out).toContain(`  certFile: ${cert}\n  keyFile: ${key}`)
    await using app = await startApp({
      tls: { enabled: true, host: '127.0.0.1', port: 0, certFile: cert, keyFile: key },
    })
    const port = app.bridge.tls?.port ?? 0
    const socket = connect({ host: '127.0.0.1', port, ca: readFileSync(ca), servername: 'bridge.lan' })
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
    expect(socket.authorized).toBe(true)
    socket.destroy()
  })

  it('says what is wrong with a folder that cannot be', async () => {
    const { files } = await initAuthority(await folder(), ['a.lan'])
    await expect(initAuthority(join(files.cert, 'tls'), ['a.lan'])).rejects.toThrow(/ENOTDIR/)
  })
})

describe('a renewal on a machine whose addresses change', () => {
  it('keeps the names that were asked for, and lets the addresses go that went last', async () => {
    const path = await folder()
    const gone = Array.from({ length: 99 }, (_, i) => `10.0.0.${i + 1}`)
    const { files } = await initAuthority(path, ['bridge.example.org', ...gone])
    const own = await OwnCertificate.of(files.cert, files.key)
    await own?.renewIfDue(Date.now(), ['10.1.0.1', '10.1.0.2'])
    const cert = certificate(files.cert)
    expect(cert.checkHost('bridge.example.org')).toBe('bridge.example.org')
    expect(cert.checkIP('10.1.0.2')).toBe('10.1.0.2')
  })
})

describe('root', () => {
  it('gives away a folder that it made, and none that is somebody else’s or that a link leads to', async (context) => {
    if (process.geteuid?.() !== 0) return context.skip('only root can give files away')
    const service = await folder()
    chownSync(service, 12_345, 12_345)
    await initAuthority(join(service, 'tls'), ['a.lan'])
    expect(statSync(join(service, 'tls')).uid).toBe(12_345)
    expect(statSync(join(service, 'tls/bridge-key.pem')).uid).toBe(12_345)

    const home = await folder()
    chownSync(home, 54_321, 54_321)
    await initAuthority(home, ['a.lan'])
    expect(statSync(home).uid).toBe(54_321)

    const elsewhere = await folder()
    symlinkSync(elsewhere, join(service, 'link'))
    await initAuthority(join(service, 'link'), ['a.lan']).catch(() => undefined)
    expect(statSync(elsewhere).uid).toBe(0)
  })
})
