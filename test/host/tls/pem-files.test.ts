import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { loadConfig } from '../../../src/host/config/load.ts'
import { configuration } from '../../../src/host/process/command-line-config.ts'
import { unusableFiles } from '../../../src/host/tls/certificate-files.ts'
import { startApp } from '../../support/app.ts'
import { type Authority, authority, type Pair } from '../../support/certificates.ts'
import { lacking } from '../../support/needs.ts'
import { patience } from '../../support/patience.ts'

let folder = ''
let ours: Authority
let server: Pair
let other: Pair
/** A file for each thing that somebody may name by mistake. */
let files: Record<string, string>

function put(name: string, content: string | Buffer): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

function converted(name: string, ...args: string[]): string {
  const path = join(folder, name)
  execFileSync('openssl', [...args, '-out', path], { stdio: 'ignore' })
  return path
}

/** What `config check` and the doctor have to say of a configuration. */
function problems(settings: object): string[] {
  return unusableFiles(loadConfig({ file: put('bridge.json', JSON.stringify(settings)), env: {} }).config)
}

function tls(changed: object): object {
  return { tls: { enabled: true, port: 0, certFile: server.certFile, keyFile: server.keyFile, ...changed } }
}

describe.skipIf(lacking('openssl') !== undefined)('files that a setting names', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'limb-pem-'))
    ours = authority(folder)
    server = ours.issue('localhost')
    other = ours.issue('other')
    const { certFile, keyFile } = server
    const export12 = ['pkcs12', '-export', '-in', certFile, '-inkey', keyFile, '-passout', 'pass:x']
    files = {
      empty: put('empty.pem', ''),
      text: put('page.html', '<!doctype html><title>404</title>'),
      der: converted('server.der', 'x509', '-in', certFile, '-outform', 'der'),
      p12: converted('server.p12', ...export12),
      locked: converted('locked.key', 'pkey', '-in', keyFile, '-aes256', '-passout', 'pass:secret'),
      torn: put('torn.pem', readFileSync(certFile, 'utf8').replace(/\n[^\n]+\n(?=[^\n]+\n-----END)/, '\n')),
      csr: converted('server.csr', 'req', '-new', '-key', keyFile, '-subj', '/CN=x'),
    }
  }, patience(60_000))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('are sound when they are PEM of what is wanted', () => {
    const { certFile: caFile } = ours
    expect(problems(tls({ caFile, crlFile: ours.revoke(other) }))).toEqual([])
    expect(problems({ ...tls({}), invocation: { caFile } })).toEqual([])
  })

  it.each([
    ['certFile', 'empty', 'it has no PEM certificate in it, it is empty'],
    ['certFile', 'text', 'it has no PEM certificate in it, and no other PEM'],
    ['certFile', 'der', 'it has no PEM certificate in it, it is DER: `openssl x509 -inform der'],
    ['certFile', 'p12', 'PKCS#12'],
    ['certFile', 'torn', 'a certificate in it cannot be read'],
    ['certFile', 'csr', 'but CERTIFICATE REQUEST'],
    ['certFile', 'key', 'it has no PEM certificate in it, but PRIVATE KEY'],
    ['keyFile', 'cert', 'it has no PEM private key in it, but CERTIFICATE'],
    ['keyFile', 'locked', 'its private key has a passphrase; `openssl pkey'],
    ['keyFile', 'der', 'it has no PEM private key in it'],
    ['caFile', 'key', 'it has no PEM certificate in it, but PRIVATE KEY'],
    ['caFile', 'der', 'it is DER'],
    ['crlFile', 'cert', 'it has no PEM list of revoked certificates (X509 CRL) in it, but CERTIFICATE'],
  ] as const)('tls.%s: %s is told, and the start stops with the same words', async (key, what, words) => {
    const byName: Record<string, string> = { ...files, cert: server.certFile, key: server.keyFile }
    const path = byName[what] as string
    const named = { ...(key === 'crlFile' ? { caFile: ours.certFile } : {}), [key]: path }
    const told = problems(tls(named))
    expect(told).toEqual([expect.stringContaining(`tls.${key}: cannot use ${path}: `)])
    expect(told[0]).toContain(words)
    await expect(startApp(tls(named), { memory: true })).rejects.toThrow(told[0] as string)
  })

  it('a key of another certificate is told', () => {
    expect(problems(tls({ keyFile: other.keyFile }))).toEqual([
      `tls.keyFile: ${other.keyFile} is not the key of the certificate in ${server.certFile}`,
    ])
  })

  it('a chain in the wrong order is told', () => {
    const certFile = put('reversed.pem', Buffer.concat([ours.cert, server.cert]))
    expect(problems(tls({ certFile }))).toEqual([
      expect.stringContaining('put that before those that issued it'),
    ])
  })

  it('what no listener uses is told too, at the start as a warning', async () => {
    const { der, text, p12 } = files as { der: string; text: string; p12: string }
    const uplink = { name: 'home', url: 'mqtts://127.0.0.1:1', prefix: 'limb', caFile: der }
    const webhook = { name: 'phone', url: 'https://hooks.example/', format: 'ntfy', caFile: text }
    const settings = { uplinks: [uplink], webhooks: [webhook], invocation: { caFile: p12 } }
    const expected = [
      expect.stringMatching(/^uplinks\[0\]\.caFile: cannot use .*server\.der: .*it is DER/),
      expect.stringMatching(/^invocation\.caFile: cannot use .*server\.p12: .*PKCS#12/),
      expect.stringMatching(/^webhooks\[0\]\.caFile: cannot use .*page\.html: .*no other PEM/),
    ]
    expect(problems(settings)).toEqual(expected)
    const loaded = await configuration.load(put('bridge.json', JSON.stringify(settings)), {})
    expect(loaded.ok && (await loaded.show()).warnings).toEqual(expected)
    const { config } = loadConfig({ file: put('bridge.json', JSON.stringify(settings)), env: {} })
    const app = await startApp(
      { ...settings, uplinks: config.uplinks, webhooks: config.webhooks },
      { memory: true },
    )
    onTestFinished(() => app[Symbol.asyncDispose]())
    expect(app.logLines.map(({ msg }) => msg)).toEqual(expect.arrayContaining(expected))
  })
})
