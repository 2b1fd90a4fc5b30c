import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'

/** The link that a first start prints: the only thing that lets anybody set a password without one. */

const HTTP = { http: { enabled: true, port: 0 } }

async function post(app: TestApp, body: unknown, headers: Record<string, string> = {}): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${app.bridge.http?.port}/console/first-start`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return response.status
}

describe('the link of a first start', () => {
  it('sets the password of admin once, and takes the file with the made one away', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const { firstStartSecret: secret, adminPassword } = app.bridge
    expect(secret).toMatch(/^[\w-]{43}$/)
    expect(existsSync(adminPassword.file)).toBe(true)
    expect(await post(app, { secret, password: 'short' })).toBe(400)
    expect(await post(app, { secret: 'x'.repeat(43), password: 'a-good-password' })).toBe(410)
    expect(await post(app, { secret, password: 'a-good-password' })).toBe(204)
    const admin = await app.principal('admin', 'a-good-password')
    await admin.end()
    expect(existsSync(adminPassword.file)).toBe(false)
    expect(await post(app, { secret, password: 'another-password' })).toBe(410)
    await expect(app.principal('admin', 'another-password')).rejects.toThrow()
  })

  it('sets no password in the place of one that was chosen meanwhile', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const { firstStartSecret: secret } = app.bridge
    const admin = await app.admin()
    await admin.do('admin', 'principal/set-password', { name: 'admin', password: 'chosen-by-the-admin' })
    expect(await post(app, { secret, password: 'a-good-password' })).toBe(410)
    await (await app.principal('admin', 'chosen-by-the-admin')).end()
  })

  it('works for ten minutes', async () => {
    await using app = await startApp(HTTP, { fakeClock: true, memory: true })
    const { firstStartSecret: secret } = app.bridge
    app.clock.advance(600_001)
    expect(await post(app, { secret, password: 'a-good-password' })).toBe(410)
  })

  it('is no way in for a page of another origin', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const { firstStartSecret: secret } = app.bridge
    const headers = { origin: 'https://evil.example' }
    expect(await post(app, { secret, password: 'a-good-password' }, headers)).toBe(403)
  })

  it('is made by the first start alone', async () => {
    await using app = await startApp(HTTP)
    const { firstStartSecret: secret, adminPassword } = app.bridge
    // As the program does once the welcome is written.
    adminPassword.welcomed()
    await app.restart()
    expect(app.bridge.firstStartSecret).toBeUndefined()
    expect(await post(app, { secret, password: 'a-good-password' })).toBe(410)
  })
})
