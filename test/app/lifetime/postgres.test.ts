import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { copyStores } from '../../../src/assembly/store-copy.ts'
import { inspectServer } from '../../../src/store/postgres/inspect.ts'
import { MIGRATIONS } from '../../../src/store/postgres/schema.ts'
import { keyOf, startApp } from '../../support/app.ts'
import { onePostgres } from '../../support/one-postgres.ts'
import { asOperator, startPostgres } from '../../support/postgres.ts'

describe('a bridge on PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0

  const storeIn = (schema = `bridge_${schemas++}`) => ({
    kind: 'postgres' as const,
    url: `postgres://limb@localhost/postgres?host=${postgres.server.host}`,
    schema,
  })
  const admin = (text: string) => asOperator(postgres.server.host, text)

  test('pairs limbs, and knows them after a restart', async () => {
    await using app = await startApp({ store: storeIn() })
    const limb = await app.limb('cam-1')
    await limb.publish('limb/node/cam-1/heartbeat', { status: 'ok' })
    await app.restart()
    const client = await app.admin()
    expect(await client.do('admin', 'node/list', {})).toMatchObject({
      items: [{ nodeId: 'cam-1', status: 'offline' }],
    })
    expect(await client.do('admin', 'audit/verify', {})).toMatchObject({ whole: true })
  })

  test('says of a server that is not there which setting is to be looked at, and does not start', async () => {
    const store = { ...storeIn(), url: 'postgres://limb@localhost/postgres?host=/nonexistent' }
    await expect(startApp({ store })).rejects.toThrow(
      /store\.url cannot be used: connect ENOENT \S+; look at store\.url/,
    )
    const database = { ...storeIn(), url: storeIn().url.replace('/postgres?', '/absent?') }
    await expect(startApp({ store: database })).rejects.toThrow(/"absent" does not exist.*CREATE DATABASE/)
  })

  test('whoever inspects the server is told which session has the schema', async () => {
    const store = storeIn()
    await using _first = await startApp({ store })
    expect(await inspectServer({ server: postgres.server, schema: store.schema })).toMatchObject({
      version: expect.stringMatching(/^\d+/),
      tls: undefined,
      schema: MIGRATIONS.length,
      holder: expect.stringMatching(/^on the machine of the server, session \d+, since 2/),
      problems: [],
      // The server of the tests is quick.
      warnings: [expect.stringMatching(/^fsync is off/)],
    })
  })

  test('its schema may have a name that is a word of SQL', async () => {
    await using app = await startApp({ store: storeIn('user') })
    await app.limb('cam-1')
    expect(await admin('SELECT node_id FROM "user".nodes')).toEqual([{ node_id: 'cam-1' }])
  })

  test('ends when another bridge has taken the database over', async () => {
    const store = storeIn()
    await using app = await startApp({ store })
    await admin(`UPDATE ${store.schema}.leader SET epoch = epoch + 1`)
    expect(await app.bridge.lost).toMatch(/another bridge/)
    const client = await app.admin()
    await expect(client.do('admin', 'principal/add', { name: 'ada', role: 'viewer' })).rejects.toThrow(
      /storage_unavailable/,
    )
  })

  test('a server that does not answer refuses changes and sign-ins for now, and no password is wrong', async () => {
    const own = startPostgres()
    try {
      const url = `postgres://limb@localhost/postgres?host=${own.server.host}`
      const http = { enabled: true, api: true, port: 0 }
      await using app = await startApp({ store: { ...storeIn(), url }, http })
      const limb = await app.limb('cam-1')
      const client = await app.admin()
      await client.do('admin', 'principal/add', { name: 'ada', role: 'viewer', password: 'a-long-password' })
      own.kill()
      await expect(client.do('admin', 'principal/remove', { name: 'ada' })).rejects.toThrow(
        /storage_unavailable/,
      )
      await expect(app.principal('ada', 'a-long-password')).rejects.toThrow(/Server unavailable/i)
      const base = `http://127.0.0.1:${app.bridge.http?.port}`
      const authorization = `Basic ${Buffer.from('ada:a-long-password').toString('base64')}`
      const asPrincipal = await fetch(`${base}/api/v1/node/list`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: '{}',
      })
      expect([asPrincipal.status, await asPrincipal.json()]).toMatchObject([
        503,
        { code: 'storage_unavailable' },
      ])
      const asLimb = await fetch(`${base}/api/limb/heartbeat`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ nodeId: 'cam-1', key: 'k'.repeat(30) }),
      })
      expect(asLimb.status).toBe(503)
      // Who leads is as ready as any other could be: a balancer leaves the limbs where they are.
      expect((await fetch(`${base}/readyz`)).status).toBe(200)
      // Whoever looks after the bridge gets in, and limbs that are there go on.
      const second = await app.admin()
      await limb.publish('limb/node/cam-1/heartbeat', { status: 'ok' })
      expect(await second.do('admin', 'node/list', {})).toMatchObject({
        items: [{ nodeId: 'cam-1', status: 'online' }],
      })
      own.start()
      await expect
        .poll(() => app.principal('ada', 'a-long-password').then(() => 'in', String), { timeout: 20_000 })
        .toBe('in')
      await client.do('admin', 'principal/remove', { name: 'ada' })
    } finally {
      own.stop()
    }
  })

  test('`store copy` brings a bridge from a file to a server and back, and no limb notices', async () => {
    const store = storeIn()
    await using app = await startApp({ store: { kind: 'sqlite' } })
    const file = join(app.folder, 'limb.sqlite')
    const secretFile = join(app.folder, 'store-secret')
    writeFileSync(secretFile, 's'.repeat(40))
    const configFile = join(app.folder, 'copy.yaml')
    writeFileSync(configFile, JSON.stringify({ store: { schema: store.schema, secretFile } }))
    await app.limb('cam-1')
    const busy = await copyStores({ from: file, to: store.url, configFile })
    expect(busy).toMatchObject({ ok: false, reason: expect.stringMatching(/in use/i) })
    await app.bridge.stop()
    const there = await copyStores({ from: file, to: store.url, configFile })
    expect(there).toMatchObject({ ok: true, nodes: 1, secret: 'copied' })
    {
      await using server = await startApp({ store: { ...store, secretFile } })
      // With its key: it is known, and needs no approval.
      const limb = await server.device('cam-1', keyOf('cam-1'))
      await limb.publish('limb/node/cam-1/heartbeat', { status: 'ok' })
      const client = await server.admin()
      await expect
        .poll(async () => (await client.do('admin', 'node/list', {})).items)
        .toMatchObject([{ nodeId: 'cam-1', status: 'online' }])
      await server.limb('cam-2')
    }
    const back = join(app.folder, 'back', 'limb.sqlite')
    const again = await copyStores({ from: store.url, to: back, configFile })
    expect(again).toMatchObject({ ok: true, nodes: 2, secret: 'copied', audit: { whole: true } })
    const secret = (folder: string) => readFileSync(join(folder, 'invoke-secret'), 'utf8')
    expect(secret(join(app.folder, 'back'))).toBe(secret(app.folder))
  })

  test('keeps its secrets sealed in the database, so that a machine with another folder has them too', async () => {
    const store = storeIn()
    await using first = await startApp({})
    const secretFile = join(first.folder, 'store-secret')
    writeFileSync(secretFile, `${'s'.repeat(40)}\n`)
    const password = await (async () => {
      await using app = await startApp({ store: { ...store, secretFile } })
      return readFileSync(app.bridge.adminPassword.file, 'utf8')
    })()
    const rows = await admin(`SELECT name, sealed FROM ${store.schema}.secrets ORDER BY name`)
    expect(rows.map(({ name }) => name)).toEqual(['admin-password', 'invoke-secret'])
    expect(rows.some(({ sealed }) => String(sealed).includes(password.trim()))).toBe(false)
    {
      await using other = await startApp({ store: { ...store, secretFile } })
      expect(readFileSync(other.bridge.adminPassword.file, 'utf8')).toBe(password)
      expect(other.bridge.adminPassword).toMatchObject({ inFile: true, firstStart: false })
    }
    writeFileSync(secretFile, `${'x'.repeat(40)}\n`)
    await expect(startApp({ store: { ...store, secretFile } })).rejects.toThrow(/sealed with another one/)
    writeFileSync(secretFile, 'short')
    await expect(startApp({ store: { ...store, secretFile } })).rejects.toThrow(/fewer than 32/)
    rmSync(secretFile)
    await expect(startApp({ store: { ...store, secretFile } })).rejects.toThrow(
      /store\.secretFile.*cannot be read/,
    )
    // New secrets in their place would be unknown to every limb.
    await expect(startApp({ store })).rejects.toThrow(
      /admin-password, invoke-secret.*store\.secretFile is not set/,
    )
  })
})
