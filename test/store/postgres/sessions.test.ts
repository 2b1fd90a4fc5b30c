import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Clock, systemClock } from '../../../src/kernel/clock.ts'
import { PostgresConnection } from '../../../src/store/postgres/connection.ts'
import { openPostgres } from '../../../src/store/postgres/database.ts'
import { isStorageFailure } from '../../../src/store/postgres/errors.ts'
import { openPostgresStore } from '../../../src/store/postgres/parts.ts'
import { createPostgresStore } from '../../../src/store/postgres/store.ts'
import { nodeOf } from '../../contract/store.contract.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { onePostgres } from '../../support/one-postgres.ts'
import { patience } from '../../support/patience.ts'
import { asOperator } from '../../support/postgres.ts'
import { silent } from '../fixture.ts'

/** What becomes of the sessions of a bridge on the server, and of what was under way in them. */

/** Stands between a bridge and the server, and loses what it is told to lose around the next COMMIT. */
class LossyProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #loses: 'the answer' | 'the question' | undefined
  #lost = Promise.withResolvers<void>()

  constructor(path: string) {
    this.#server = createServer((near) => {
      const far = connect(path)
      let isLost = false
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one)
        one.on('error', () => undefined)
        one.on('close', () => {
          this.#sockets.delete(one)
          other.destroy()
        })
      }
      let name: string | undefined
      near.on('data', (bytes) => {
        // The text of a statement is sent once on each connection, with the name that stands for it from then on.
        const text = bytes.toString('latin1')
        name = /(s\d+)\0COMMIT\0/.exec(text)?.[1] ?? name
        if (this.#loses !== undefined && name !== undefined && text.includes(`\0${name}\0`)) {
          isLost = true
          const loses = this.#loses
          this.#loses = undefined
          if (loses === 'the answer') far.write(bytes)
          this.#lost.resolve()
        } else if (!isLost) far.write(bytes)
      })
      far.on('data', (bytes) => {
        if (!isLost) near.write(bytes)
      })
    })
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as { port: number }).port
  }

  /** Resolves when a COMMIT has come, and it, or what the server says to it, is lost. */
  async lose(what: 'the answer' | 'the question'): Promise<void> {
    this.#lost = Promise.withResolvers()
    this.#loses = what
    await this.#lost.promise
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.cut()
    this.#server.close()
  }
}

describe('the sessions of a bridge on PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0

  const newSchema = () => `sessions_${schemas++}`
  const admin = (text: string) => asOperator(postgres.server.host, text)
  const open = (
    schema: string,
    { clock = systemClock as Clock, server = postgres.server as object } = {},
  ) => {
    const lost = vi.fn()
    const log = { ...silent, error: lost }
    const store = createPostgresStore(openPostgres({ server, schema, clock, log }))
    onTestFinished(() => store.close())
    return { store, errors: lost }
  }
  const socketOf = ({ host }: { host: string }) => join(host, '.s.PGSQL.5432')

  async function through() {
    const proxy = new LossyProxy(socketOf(postgres.server))
    const port = await proxy.listen()
    onTestFinished(() => proxy.close())
    const schema = newSchema()
    const server = { host: '127.0.0.1', port, user: 'limb', database: 'postgres' }
    const { store, errors } = open(schema, { server })
    await store.transact((tx) => tx.putNode(nodeOf('before')))
    const stored = async () =>
      (await admin(`SELECT node_id FROM ${schema}.nodes ORDER BY 1`)).map((row) => row.node_id)
    return { proxy, store, stored, errors }
  }

  /** Sessions that have the lock of the schema. */
  /** The sessions that hold or want the lock of a schema, by the number of their process. */
  async function sessionsOf(schema: string): Promise<number[]> {
    const rows = await admin(
      `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = (hashtext('${schema}')::bigint & 4294967295)::oid`,
    )
    return rows.map(({ pid }) => Number(pid))
  }

  test('a commit whose answer is lost was stored: the bridge asks, and says so to whoever waits', async () => {
    const { proxy, store, stored } = await through()
    const lost = proxy.lose('the answer')
    const put = store.transact((tx) => tx.putNode(nodeOf('after')))
    await lost
    await expect.poll(stored).toEqual(['after', 'before'])
    proxy.cut()
    await put
    expect(store.health()).toEqual({ ok: true })
    await store.transact((tx) => tx.putNode(nodeOf('next')))
    expect(await stored()).toEqual(['after', 'before', 'next'])
  })

  test('a commit that did not reach the server was not stored: whoever waits is refused, once that is known', async () => {
    const { proxy, store, stored, errors } = await through()
    const lost = proxy.lose('the question')
    const put = store.transact((tx) => tx.putNode(nodeOf('after')))
    const outcome = put.then(
      () => 'stored',
      (error: { code: string }) => error.code,
    )
    await lost
    proxy.cut()
    expect(await outcome).toBe('storage_unavailable')
    expect(await stored()).toEqual(['before'])
    // It is known: nothing is said of a doubt.
    for (const [, text] of errors.mock.calls) expect(text).not.toMatch(/is not known/)
    await store.transact((tx) => tx.putNode(nodeOf('next')))
    expect(await stored()).toEqual(['before', 'next'])
  })

  test('a commit in doubt holds up no fence: a bridge that cannot ask any more ends when its time is up', async () => {
    const proxy = new LossyProxy(socketOf(postgres.server))
    const port = await proxy.listen()
    onTestFinished(() => proxy.close())
    const server = { host: '127.0.0.1', port, user: 'limb', database: 'postgres' }
    const options = { server, schema: newSchema(), clock: systemClock, log: silent, fenceMs: () => 1500 }
    const database = openPostgres(options)
    const store = createPostgresStore(database)
    onTestFinished(() => store.close())
    await store.transact((tx) => tx.putNode(nodeOf('before')))
    const events: string[] = []
    const ended = database.lost.then(() => events.push('ended'))
    const lost = proxy.lose('the answer')
    const put = store.transact((tx) => tx.putNode(nodeOf('after'))).catch(() => events.push('refused'))
    await lost
    proxy.close()
    await Promise.all([ended, put])
    expect(events).toEqual(['ended', 'refused'])
  })

  test(
    'the server ends the session of a bridge that says nothing, and its lock is free; one that runs keeps its own',
    async () => {
      const [frozen, running] = [newSchema(), newSchema()]
      // On this clock nothing is said now and then.
      const { store } = open(frozen, { clock: new FakeClock() })
      await store.transact((tx) => tx.putNode(nodeOf('before')))
      const { store: other } = open(running)
      await other.transact((tx) => tx.putNode(nodeOf('before')))
      const [quiet, talking] = [await sessionsOf(frozen), await sessionsOf(running)]
      expect([quiet, talking]).toEqual([[expect.any(Number)], [expect.any(Number)]])
      // Only its clock is frozen: it is told that its session has ended, and may have the lock again with the next one.
      await expect
        .poll(() => sessionsOf(frozen), { timeout: patience(30_000), interval: 250 })
        .not.toEqual(quiet)
      expect(await sessionsOf(running)).toEqual(talking)
      // Nobody has taken the database meanwhile: it goes on.
      await store.transact((tx) => tx.putNode(nodeOf('after')))
      expect(await store.read((tx) => tx.node('after'))).toMatchObject({ nodeId: 'after' })
      expect(await sessionsOf(frozen)).toHaveLength(1)
    },
    patience(60_000),
  )

  test('a connection that the server ends for saying nothing has failed, and its end is a failure of the storage', async () => {
    const connection = await PostgresConnection.open({ server: postgres.server, schema: 'public' }, 100)
    await expect.poll(() => connection.failed).toBe(true)
    const error = await connection.all('SELECT 1').catch((thrown: unknown) => thrown)
    expect(isStorageFailure(error)).toBe(true)
    await connection.close()
  })

  test('a bridge that does not start on a server leaves no session there', async () => {
    await admin(
      "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0",
    )
    const server = { ...postgres.server, database: 'ascii' }
    const options = { server, schema: newSchema(), clock: systemClock, log: silent }
    await expect(openPostgresStore(options).leadership.lead()).rejects.toThrow(/encoding SQL_ASCII/)
    const sessions = async () =>
      (await admin("SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = 'ascii'"))[0]?.n
    await expect.poll(sessions).toBe(0)
  })

  test('the server of these tests sorts otherwise than by bytes, so that keys in the order of bytes are seen to be', async (context) => {
    const [row] = await admin(
      "SELECT 'B' < 'a' AS bytes, current_setting('server_version_num')::int AS version",
    )
    // Older servers have no order of their own for a whole database.
    if (Number(row?.version) < 150_000) context.skip('needs PostgreSQL 15')
    expect(row?.bytes).toBe(false)
  })
})

test('clients of pg are made in one place, where each gets a listener for errors: without one, the end of the server would be that of the process', () => {
  const src = resolve(import.meta.dirname, '../../../src')
  const makers = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(
    (file) =>
      file.endsWith('.ts') && /new (pg\.)?(Client|Pool)\(/.test(readFileSync(join(src, file), 'utf8')),
  )
  expect(makers.filter((file) => file.startsWith('store'))).toEqual(['store/postgres/connection.ts'])
  const text = readFileSync(join(src, 'store/postgres/connection.ts'), 'utf8')
  expect(text.match(/new pg\.Client\(/g)).toHaveLength(1)
  expect(text).toContain("client.on('error'")
})
