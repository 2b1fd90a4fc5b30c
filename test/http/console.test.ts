import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { acceptedEncoding, loadConsoleFiles } from '../../src/http/console/files.ts'
import { startApp } from '../support/app.ts'
import { startHttpWith } from './http-server.ts'

/** The web console as files: who gets what, with which headers. What it does stands in test/console. */

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-console-'))
  mkdirSync(join(folder, 'assets'))
  writeFileSync(join(folder, 'index.html'), '<!doctype html><p>console</p>')
  const script = Buffer.from('console.log(1)')
  writeFileSync(join(folder, 'assets/index-a1.js'), script)
  writeFileSync(join(folder, 'assets/index-a1.js.br'), brotliCompressSync(script))
  writeFileSync(join(folder, 'assets/index-a1.js.gz'), gzipSync(script))
  writeFileSync(join(folder, '.sources'), 'no file of the web')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const facts = () => ({ topicRoot: 'limb', mqtt: { host: '127.0.0.1', port: 1883 }, tls: null })
const served = () => startHttpWith({ console: { folder, facts } })

describe('the console as files', () => {
  it('is served at / under a policy that loads and runs nothing but its own', async () => {
    await using http = await served()
    const response = await fetch(`${http.url}/`)
    expect(response.status).toBe(200)
    expect(await response.text()).toContain('console')
    const policy = response.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("script-src 'self'")
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).toContain("require-trusted-types-for 'script'")
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(response.headers.get('cache-control')).toBe('no-cache')
  })

  it('keeps what has a hash in its name for ever, and sends the smallest form that the client takes', async () => {
    await using http = await served()
    for (const [accepted, sent] of [
      ['gzip, br', 'br'],
      ['gzip', 'gzip'],
      ['br;q=0, gzip;q=0.5', 'gzip'],
      ['identity', null],
    ] as const) {
      const response = await fetch(`${http.url}/assets/index-a1.js`, {
        headers: { 'accept-encoding': accepted },
      })
      expect([accepted, response.headers.get('content-encoding')]).toEqual([accepted, sent])
      expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
      expect(await response.text()).toBe('console.log(1)')
    }
  })

  it('answers 304 to who has it already', async () => {
    await using http = await served()
    const etag = (await fetch(`${http.url}/`)).headers.get('etag') ?? ''
    expect(etag).toMatch(/^"[\w-]{22}"$/)
    const again = await fetch(`${http.url}/`, { headers: { 'if-none-match': etag } })
    expect(again.status).toBe(304)
    const other = await fetch(`${http.url}/`, { headers: { 'if-none-match': '"other"' } })
    expect(other.status).toBe(200)
  })

  it('serves nothing but what was built', async () => {
    await using http = await served()
    for (const path of [
      '/.sources',
      '/assets/',
      '/assets/../.sources',
      '/assets/%2e%2e/.sources',
      '/nothing.js',
    ])
      expect([path, (await fetch(`${http.url}${path}`)).status]).toEqual([path, 404])
  })

  it('says what to do in a clone where nothing is built', async () => {
    await using http = await startHttpWith({ console: { folder: join(folder, 'nothing'), facts } })
    const response = await fetch(`${http.url}/`)
    expect(response.status).toBe(503)
    expect(await response.text()).toContain('npm run build:console')
  })

  it('tells a page before its sign-in where devices connect, and nothing about limbs', async () => {
    await using app = await startApp({ http: { enabled: true, port: 0 } }, { memory: true })
    const response = await fetch(`http://127.0.0.1:${app.bridge.http?.port}/console.json`)
    expect(await response.json()).toEqual({
      topicRoot: 'limb',
      mqtt: { host: '127.0.0.1', port: app.bridge.mqtt.port },
      tls: null,
    })
  })

  it('tells who has signed in to whom a token belongs, and nobody else, also with http.api: false', async () => {
    await using app = await startApp({ http: { enabled: true, port: 0, api: false } }, { memory: true })
    const url = `http://127.0.0.1:${app.bridge.http?.port}/console/session`
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'wall', role: 'viewer', password: 'a-long-password' })
    const { token } = await admin.do('admin', 'token/add', { name: 'phone', principal: 'wall' })
    const asked = async (headers: Record<string, string>) => {
      const response = await fetch(url, { headers })
      return [response.status, ((await response.json()) as { name?: unknown }).name]
    }
    expect(await asked({ authorization: `Bearer ${token}` })).toEqual([200, 'wall'])
    expect(await asked({})).toEqual([401, undefined])
    expect(await asked({ authorization: `Bearer ${token}x` })).toEqual([401, undefined])
    const foreign = { authorization: `Bearer ${token}`, origin: 'https://evil.example' }
    expect(await asked(foreign)).toEqual([403, undefined])
    const files = url.replace('session', 'backups/none')
    const response = await fetch(files, { headers: { authorization: `Bearer ${token}` } })
    expect(response.status).toBe(403)
  })

  it('is off with http.console: false', async () => {
    await using app = await startApp({ http: { enabled: true, port: 0, console: false } }, { memory: true })
    const response = await fetch(`http://127.0.0.1:${app.bridge.http?.port}/`)
    expect(response.status).toBe(404)
  })
})

const ROOT = resolve(import.meta.dirname, '../..')
const BUILT = join(ROOT, 'console/dist')

describe.skipIf(loadConsoleFiles(BUILT) === undefined)('the built console', () => {
  it('loads less than 200 KiB for its first page', () => {
    const index = readFileSync(join(BUILT, 'index.html'), 'utf8')
    const first = [
      'index.html',
      ...[...index.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map(([, name = '']) => name),
    ]
    const bytes = first.map((name) => readFileSync(join(BUILT, `${name}.gz`)).length)
    expect(first.length).toBeGreaterThan(3)
    expect(bytes.reduce((sum, each) => sum + each, 0)).toBeLessThan(200 * 1024)
  })

  it('asks no other place for anything', () => {
    const index = readFileSync(join(BUILT, 'index.html'), 'utf8')
    expect(index).not.toMatch(/(?:src|href)="(?!\.\/)/)
    const styles = readdirSync(join(BUILT, 'assets')).filter((name) => name.endsWith('.css'))
    for (const name of styles)
      expect(readFileSync(join(BUILT, 'assets', name), 'utf8')).not.toMatch(/url\(|@import/)
  })
})

it('reads the encodings that a client takes in one pass, however many blanks are among them', () => {
  const file = loadConsoleFiles(folder)?.get('/assets/index-a1.js')
  expect(file).toBeDefined()
  // With an expression that grows with the square of the blanks this takes minutes; Node lets 16 KiB of headers in.
  if (file) expect(acceptedEncoding(`a${' '.repeat(1_000_000)}b, gzip ; q=0.5`, file)).toBe('gzip')
})
