import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp } from '../../support/app.ts'
import { authority } from '../../support/certificates.ts'
import { freePort } from '../../support/free-port.ts'
import { lacking, needs } from '../../support/needs.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'

describe('a bridge on a PostgreSQL server across a network', () => {
  needs('postgresql', 'openssl')
  const folder = mkdtempSync(join(tmpdir(), 'limb-pg-tls-'))
  const own = authority(folder)
  const password = 'a password with spaces and ü'
  const passwordFile = join(folder, 'password')
  let postgres: PostgresServer
  let port = 0
  let schemas = 0

  beforeAll(async () => {
    if (lacking('postgresql', 'openssl') !== undefined) return
    port = await freePort()
    // Every address of the loopback but 127.0.0.1 is none that the certificate is good for.
    const { cert, key } = own.issue('localhost')
    postgres = startPostgres({ tls: { port, addresses: '127.0.0.1,127.0.0.2', cert, key } })
    await asLocal(`ALTER USER limb PASSWORD '${password}'`)
    writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 })
  }, 180_000)
  afterAll(() => {
    postgres?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  async function asLocal(text: string): Promise<Record<string, unknown>[]> {
    const client = new pg.Client(postgres.server)
    await client.connect()
    try {
      return (await client.query(text)).rows as Record<string, unknown>[]
    } finally {
      await client.end()
    }
  }

  const storeAt = (host: string) => ({
    kind: 'postgres' as const,
    url: `postgres://limb@${host}:${port}/postgres`,
    schema: `tls_${schemas++}`,
    passwordFile,
    caFile: own.certFile,
  })

  test('speaks TLS with it, checked by store.caFile, and signs in with the password of store.passwordFile', async () => {
    await using app = await startApp({ store: storeAt('127.0.0.1') })
    await app.limb('cam-1')
    const sessions = await asLocal(
      "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'limb-bridge'",
    )
    expect(sessions).toEqual([{ ssl: true }])
    // A new password is read at the next connection: nothing is restarted.
    await asLocal("ALTER USER limb PASSWORD 'another'")
    writeFileSync(passwordFile, 'another')
    await asLocal(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'limb-bridge'",
    )
    const admin = await app.admin()
    await expect
      .poll(async () => (await admin.ask('admin', 'principal/add', { name: 'ada', role: 'viewer' })).ok)
      .toBe(true)
    await asLocal(`ALTER USER limb PASSWORD '${password}'`)
    writeFileSync(passwordFile, password)
  })

  test('does not start with a wrong password, and says which settings to look at, without the password', async () => {
    const wrong = join(folder, 'wrong')
    writeFileSync(wrong, 'never-to-be-told')
    const store = { ...storeAt('127.0.0.1'), passwordFile: wrong }
    const error = await startApp({ store }).then(() => 'started', String)
    expect(error).toMatch(
      /password authentication failed.*look at the user name in store\.url and at store\.passwordFile/,
    )
    expect(error).not.toContain('never-to-be-told')
  })

  test('does not start on a server whose certificate is of another authority, or of another name', async () => {
    const stranger = authority(folder, 'Another authority')
    await expect(startApp({ store: { ...storeAt('127.0.0.1'), caFile: stranger.certFile } })).rejects.toThrow(
      /certificate/,
    )
    await expect(startApp({ store: storeAt('127.0.0.2') })).rejects.toThrow(/127\.0\.0\.2.*cert/)
  })

  test('does not start with an authority that is not there or is none, and names store.caFile', async () => {
    const none = join(folder, 'none.pem')
    writeFileSync(none, 'not a certificate')
    for (const caFile of [none, join(folder, 'absent.pem')])
      await expect(startApp({ store: { ...storeAt('127.0.0.1'), caFile } })).rejects.toThrow(/store\.caFile/)
  })
})
