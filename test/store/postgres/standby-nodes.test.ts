import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Store } from '../../../src/bridge/ports.ts'
import type { NodeRecord } from '../../../src/domain/records.ts'
import { type Clock, systemClock } from '../../../src/kernel/clock.ts'
import type { PostgresConnection } from '../../../src/store/postgres/connection.ts'
import { openPostgres } from '../../../src/store/postgres/database.ts'
import { MIGRATIONS } from '../../../src/store/postgres/schema.ts'
import { pagesOf, StandbyNodes } from '../../../src/store/postgres/standby-nodes.ts'
import { createPostgresStore } from '../../../src/store/postgres/store.ts'
import { NODE_COLUMNS, NodeRows, nodeValues } from '../../../src/store/records.ts'
import type { SqlRow } from '../../../src/store/rows.ts'
import { nodeOf } from '../../contract/store.contract.ts'
import { SeededRandom } from '../../crash/random.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { onePostgres } from '../../support/one-postgres.ts'
import { patience } from '../../support/patience.ts'
import { asOperator } from '../../support/postgres.ts'
import { silent } from '../fixture.ts'

const LIMIT = { timeout: patience(8000), interval: 20 } as const
const HELD = /^the limbs were held ready/
const READ = /^the limbs were not held ready/

/** Waits 20 ms where a bridge waits longer, but for the mark of a take-over: that one is not to be late. */
const quick: Clock = {
  ...systemClock,
  after: (ms, task) => systemClock.after(ms === 1000 ? ms : Math.min(ms, 20), task),
}

describe('limbs that a standby holds', { timeout: patience(30_000) }, () => {
  const postgres = onePostgres()
  let schemas = 0

  const newSchema = () => `standby_${schemas++}`
  const admin = (text: string) => asOperator(postgres.server.host, text)

  /** A bridge as far as its limbs go; `waits` once another one leads. */
  function bridge(schema: string, { maxHeld, clock = quick }: { maxHeld?: number; clock?: Clock } = {}) {
    const told: string[] = []
    const hear = (_: object, text: string) => void told.push(text)
    const log = { ...silent, info: hear, debug: hear }
    const { server } = postgres
    const database = openPostgres({ server, schema, clock, log, ...(maxHeld !== undefined && { maxHeld }) })
    onTestFinished(() => database.close())
    const waits = Promise.withResolvers<void>()
    const leads = database.lead(() => waits.resolve())
    leads.catch(() => undefined)
    return { database, store: createPostgresStore(database), told, leads, waits: waits.promise }
  }
  type Bridge = ReturnType<typeof bridge>

  async function loaded(store: Store): Promise<NodeRecord[]> {
    const all: NodeRecord[] = []
    for await (const page of store.loadNodes()) all.push(...page)
    return all
  }

  const put = (store: Store, ...nodes: NodeRecord[]) =>
    store.transact(async (tx) => {
      for (const node of nodes) await tx.putNode(node)
    })

  /** A leader with ten limbs, n-0 to n-9, and a standby that holds all that it may. */
  async function pair(clock = quick) {
    const schema = newSchema()
    const leader = bridge(schema)
    await leader.leads
    await put(leader.store, ...Array.from({ length: 10 }, (_, i) => nodeOf(`n-${i}`, { lastHeartbeatAt: i })))
    const standby = bridge(schema, { clock })
    await expect.poll(() => standby.database.heldLimbs, LIMIT).toBe(10)
    return { schema, leader, standby }
  }

  /** Ends the leader, and compares what the other one loads then with what it reads when it holds nothing. */
  async function takeOver(
    leader: { readonly database: { close(): Promise<void> } },
    standby: Bridge,
  ): Promise<NodeRecord[]> {
    await leader.database.close()
    await standby.leads
    const first = await loaded(standby.store)
    expect(first).toEqual(await loaded(standby.store))
    expect(standby.database.heldLimbs).toBe(0)
    return first
  }

  const asReplica = (text: string) => `BEGIN; SET LOCAL session_replication_role = replica; ${text}; COMMIT;`
  /** Ends the connections that listen. */
  const hangUp = () =>
    admin(
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'limb-bridge'
        AND query ~ 'LISTEN|FROM nodes|FROM schema_version|FROM heartbeats'`,
    )

  test('that changed, came or went meanwhile are as they are when it takes over, and the others are not read again', async () => {
    const { schema, leader, standby } = await pair()
    await put(leader.store, nodeOf('n-3', { displayName: 'renamed' }), nodeOf('m-1'))
    await leader.store.transact((tx) => tx.deleteNode('n-4'))
    await leader.store.saveHeartbeats([{ nodeId: 'n-5', at: 500 }])
    await admin(`UPDATE ${schema}.nodes SET node_id = 'o-6' WHERE node_id = 'n-6'`)
    // What nobody was told of shows that it was not read again.
    await admin(asReplica(`UPDATE ${schema}.nodes SET display_name = 'not told' WHERE node_id = 'n-7'`))
    await leader.database.close()
    await standby.leads
    const limbs = await loaded(standby.store)
    expect(limbs.map(({ nodeId }) => nodeId)).toEqual([
      'm-1',
      'n-0',
      'n-1',
      'n-2',
      'n-3',
      'n-5',
      'n-7',
      'n-8',
      'n-9',
      'o-6',
    ])
    const of = (name: string) => limbs.find(({ nodeId }) => nodeId === name)
    expect([of('n-3')?.displayName, of('n-7')?.displayName]).toEqual(['renamed', 'Node n-7'])
    expect([of('m-1'), of('n-5'), of('n-9')].map((limb) => limb?.lastHeartbeatAt)).toEqual([null, 500, 9])
    expect(standby.told).toContainEqual(expect.stringMatching(HELD))
  })

  test.each([
    ['and was opened again', quick],
    ['and was not missed yet', systemClock],
  ])('are read anew when the connection that listens has ended just before %s', async (_, clock) => {
    const { schema, leader, standby } = await pair(clock)
    const change = asReplica(`UPDATE ${schema}.nodes SET display_name = 'not told' WHERE node_id = 'n-7'`)
    await admin(change)
    await hangUp()
    const limbs = await takeOver(leader, standby)
    expect(limbs[7]?.displayName).toBe('not told')
  })

  test('beyond the bound are read when it takes over', async () => {
    const schema = newSchema()
    const leader = bridge(schema)
    await leader.leads
    const names = Array.from({ length: 4500 }, (_, i) => `n-${1000 + i}`)
    await put(leader.store, ...names.map((name) => nodeOf(name)))
    const standby = bridge(schema, { maxHeld: 2000 })
    await expect.poll(() => standby.database.heldLimbs, LIMIT).toBe(2000)
    await put(
      leader.store,
      nodeOf('n-0'),
      nodeOf('n-1500', { firmware: '2' }),
      nodeOf('n-4000', { firmware: '2' }),
    )
    await leader.store.transact((tx) => tx.deleteNode('n-4001'))
    await expect.poll(() => standby.database.heldLimbs, LIMIT).toBe(2001)
    const limbs = await takeOver(leader, standby)
    expect(limbs).toHaveLength(4500)
    expect(standby.told).toContainEqual(expect.stringMatching(HELD))
  })

  async function session(): Promise<pg.Client> {
    const client = new pg.Client({ host: postgres.server.host, user: 'limb', database: 'postgres' })
    await client.connect()
    onTestFinished(() => client.end().catch(() => undefined))
    return client
  }

  /** The schema as a bridge of that version made it, with two limbs, and its lock. */
  async function olderLeader(schema: string, version: number, first: string, mine?: pg.Client) {
    const client = mine ?? (await session())
    // Both limbs at once: nobody is told of the second one, and a standby may look at any moment.
    await client.query(
      `BEGIN; DROP SCHEMA IF EXISTS ${schema} CASCADE; CREATE SCHEMA ${schema}; SET search_path = ${schema}`,
    )
    for (const step of MIGRATIONS.slice(0, version)) await client.query(step)
    await client.query(`CREATE TABLE schema_version AS SELECT ${version} AS version`)
    await client.query('SET session_replication_role = replica')
    const places = NODE_COLUMNS.split(',').map((_, i) => `$${i + 1}`)
    for (const name of [first, 'n-2'])
      await client.query(`INSERT INTO nodes (${NODE_COLUMNS}) VALUES (${places})`, nodeValues(nodeOf(name)))
    await client.query('COMMIT')
    await client.query(`SELECT pg_advisory_lock(${0x6c696d62}, hashtext('${schema}'))`)
    return { client, database: { close: () => client.end() } }
  }

  test('are not held while a bridge of an older version leads, which does not tell of them', async () => {
    const schema = newSchema()
    const leader = await olderLeader(schema, 4, 'n-1')
    const standby = bridge(schema)
    await expect
      .poll(() => standby.told, LIMIT)
      .toContainEqual(expect.stringMatching(/not held ready for a take-over/))
    await leader.client.query("UPDATE nodes SET display_name = 'not told'")
    expect(standby.database.heldLimbs).toBe(0)
    const limbs = await takeOver(leader, standby)
    expect(limbs.map(({ displayName }) => displayName)).toEqual(['not told', 'not told'])
  })

  test('of a schema that was made anew under its name are all read', async () => {
    const schema = newSchema()
    const before = await olderLeader(schema, MIGRATIONS.length, 'n-1')
    const standby = bridge(schema)
    await expect.poll(() => standby.database.heldLimbs, LIMIT).toBe(2)
    const leader = await olderLeader(schema, MIGRATIONS.length, 'n-0', before.client)
    const limbs = await takeOver(leader, standby)
    expect(limbs.map(({ nodeId }) => nodeId)).toEqual(['n-0', 'n-2'])
  })

  test('are all read by a bridge whose migration changes the rows of their table', async () => {
    const schema = newSchema()
    const leader = await olderLeader(schema, MIGRATIONS.length, 'n-1')
    const standby = bridge(schema)
    await expect.poll(() => standby.database.heldLimbs, LIMIT).toBe(2)
    const steps = MIGRATIONS as string[]
    steps.push("ALTER TABLE nodes ALTER COLUMN display_name TYPE text USING 'migrated'")
    onTestFinished(() => void steps.pop())
    const limbs = await takeOver(leader, standby)
    expect(limbs.map(({ displayName }) => displayName)).toEqual(['migrated', 'migrated'])
  })

  test('are those that are stored, whatever happened while it waited', async () => {
    const random = new SeededRandom(Math.floor(Math.random() * 2 ** 32))
    const schema = newSchema()
    let leader = bridge(schema)
    await leader.leads
    await put(leader.store, ...Array.from({ length: 3000 }, (_, i) => nodeOf(`n-${1000 + i}`)))
    const any = () => `n-${1000 + random.below(3500)}`
    let held = 0
    for (let round = 0; round < 8; round++) {
      const standby = bridge(schema, { maxHeld: random.pick([0, 2000, 100_000]) ?? 0 })
      await standby.waits
      for (let steps = random.below(25); steps > 0; steps--) {
        const what = random.below(20)
        const { store } = leader
        if (what < 8)
          await put(store, nodeOf(any(), { displayName: `at ${round}.${steps}`, lastHeartbeatAt: steps }))
        else if (what < 12) await store.transact((tx) => tx.deleteNode(any()))
        else if (what < 14) await store.saveHeartbeats([{ nodeId: any(), at: 1000 + steps }])
        else if (what < 15)
          await admin(`UPDATE ${schema}.nodes SET node_id = 'x' || node_id WHERE node_id = '${any()}'`)
        else if (what < 16)
          await admin(`UPDATE ${schema}.nodes SET firmware = '${steps}' WHERE node_id > '${any()}'`)
        else if (what < 17) await hangUp()
        else await pause(random.below(40))
      }
      await takeOver(leader, standby)
      held += standby.told.some((line) => HELD.test(line)) ? 1 : 0
      expect(
        standby.told.filter((line) => HELD.test(line) || READ.test(line)),
        `seed ${random.seed}`,
      ).toHaveLength(1)
      leader = standby
    }
    expect(held, `seed ${random.seed}`).toBeGreaterThan(0)
  })
})

describe('the limbs of a standby', () => {
  /** Answers what it is asked when it is let. */
  function start(names: string[], maxHeld?: number) {
    const clock = new FakeClock()
    const asked: string[] = []
    const table = { rows: new Map(names.map((name) => [name, rowOf(name)])), fails: false, hungUp: 0 }
    let answer = Promise.resolve()
    const all = async (text: string, ...values: unknown[]): Promise<SqlRow[]> => {
      if (text.includes('schema_version')) return [{ version: MIGRATIONS.length, place: '16' }]
      if (text.includes('heartbeats')) return []
      asked.push(
        text.includes('ANY') ? `again ${(values[0] as string[]).join(' ')}`.trim() : `after ${values[0]}`,
      )
      if (table.fails) throw new Error('Connection terminated')
      // As they are when it is asked; the answer comes later.
      const all = [...table.rows.values()]
      const rows = text.includes('ANY')
        ? (values[0] as string[]).flatMap((name) => table.rows.get(name) ?? [])
        : all.filter(({ node_id }) => node_id > String(values[0])).slice(0, Number(values[1]))
      await answer
      return rows
    }
    const sql = { all, run: async () => 1 }
    const nodes = new StandbyNodes({
      clock,
      log: silent,
      schema: 'limb',
      connected: async () => sql as unknown as PostgresConnection,
      hangUp: () => void table.hungUp++,
      maxHeld,
    })
    const hold = () => {
      const held = Promise.withResolvers<void>()
      answer = held.promise
      return held.resolve
    }
    /** Takes it as a bridge that leads with epoch 7, which hears this. */
    const take = async (heard?: string, meanwhile = () => {}) => {
      await nodes.mark(sql, 7)
      if (heard !== undefined) nodes.heard(heard)
      const taken = nodes.take()
      meanwhile()
      // Not before it waits.
      await pause(0)
      clock.advance(1000)
      const held = await taken
      return held && { names: [...held.rows.keys()].sort(), told: [...held.told] }
    }
    nodes.start()
    const read = async () => {
      clock.advance(0)
      await expect.poll(() => [asked.length, nodes.size]).toEqual([2, names.length])
    }
    return { clock, asked, table, sql, nodes, hold, take, read }
  }

  const rowOf = (name: string) => {
    const values = nodeValues(nodeOf(name))
    const columns = NODE_COLUMNS.split(',').map((column) => column.trim())
    const row = Object.fromEntries(columns.map((column, i) => [column, values[i]]))
    return { ...row, node_id: name, last_heartbeat_at: null }
  }

  test('are read once, and again when they are told of', async () => {
    const { clock, asked, nodes, take, read } = start(['a', 'b'])
    await read()
    nodes.heard('nodes b')
    expect(nodes.size).toBe(1)
    clock.advance(2000)
    await expect.poll(() => nodes.size).toBe(2)
    expect(asked).toEqual(['after ', 'again', 'again b'])
    expect(await take('leads 7 16')).toEqual({ names: ['a', 'b'], told: [] })
    expect(nodes.size).toBe(0)
  })

  test('that were told of while they were on their way are read again', async () => {
    const { clock, asked, table, nodes, hold, take } = start(['a', 'b'])
    const release = hold()
    clock.advance(0)
    await expect.poll(() => asked).toEqual(['after '])
    table.rows.delete('b')
    nodes.heard('nodes b')
    release()
    await expect.poll(() => asked).toEqual(['after ', 'again b'])
    await expect.poll(() => nodes.size).toBe(1)
    expect(await take('leads 7 16')).toEqual({ names: ['a'], told: [] })
  })

  test('that are read again at that moment are waited for', async () => {
    const { clock, asked, nodes, hold, take, read } = start(['a', 'b'])
    await read()
    nodes.heard('nodes b')
    const release = hold()
    clock.advance(2000)
    await expect.poll(() => asked.at(-1)).toBe('again b')
    const taken = take('leads 7 16')
    release()
    expect(await taken).toEqual({ names: ['a', 'b'], told: [] })
  })

  test('that are told of while they are read again are left to be read once more', async () => {
    const { clock, asked, nodes, hold, take, read } = start(['a', 'b'])
    await read()
    nodes.heard('nodes b')
    const release = hold()
    clock.advance(2000)
    await expect.poll(() => asked.at(-1)).toBe('again b')
    nodes.heard('nodes b')
    const taken = take('leads 7 16')
    release()
    expect(await taken).toEqual({ names: ['a'], told: ['b'] })
  })

  test.each([
    ['nothing', undefined],
    ['of the mark of another epoch', 'leads 6 16'],
    ['of the mark of another table', 'leads 7 17'],
  ])(
    'are not held when the bridge that takes over hears %s, and that connection is not used any more',
    async (_, heard) => {
      const { table, nodes, take, read } = start(['a'])
      await read()
      expect(await take(heard)).toBeUndefined()
      expect([table.hungUp, nodes.size]).toEqual([1, 0])
    },
  )

  test.each(['nodes', undefined])('are not held when the mark comes, and %s after it', async (told) => {
    const { nodes, take, read } = start(['a'])
    await read()
    expect(await take('leads 7 16', () => nodes.heard(told))).toBeUndefined()
  })

  test('are not waited for when a read of them hangs', async () => {
    const { clock, asked, hold, take, read } = start(['a'])
    await read()
    hold()
    clock.advance(2000)
    await expect.poll(() => asked.length).toBe(3)
    expect(await take('leads 7 16')).toBeUndefined()
  })

  test('are dropped when the server fails, and read anew ten seconds later', async () => {
    const { clock, asked, table, nodes, read } = start(['a'])
    await read()
    table.fails = true
    clock.advance(2000)
    await expect.poll(() => [nodes.size, table.hungUp]).toEqual([0, 1])
    table.fails = false
    await pause(0)
    clock.advance(9999)
    expect(asked).toHaveLength(3)
    clock.advance(1)
    await expect.poll(() => nodes.size).toBe(1)
  })

  test('that were told of at last are read again, but for those beyond what was held', async () => {
    const { table, sql } = start(['a', 'b', 'c', 'z'])
    const rows = new NodeRows()
    const held = { rows: new Map(), told: new Set(['b', 'c', 'z']), until: 'm', table: '16' }
    held.rows.set('a', rows.record(table.rows.get('a')))
    table.rows.delete('c')
    const names: string[] = []
    for await (const page of pagesOf(sql.all, rows, held)) names.push(...page.map(({ nodeId }) => nodeId))
    expect(names).toEqual(['a', 'b'])
  })

  test('of a server that goes away within a take-over fail it, and nothing else', async () => {
    const unhandled: unknown[] = []
    const note = (error: unknown) => void unhandled.push(error)
    process.on('unhandledRejection', note)
    onTestFinished(() => void process.off('unhandledRejection', note))
    const away = async () => Promise.reject(new Error('the server is away'))
    const held = { rows: new Map(), told: new Set(['a']), until: undefined, table: '1' }
    await expect(pagesOf(away, new NodeRows(), held).next()).rejects.toThrow('the server is away')
    // It is told of in the turn after.
    await pause(0)
    expect(unhandled).toEqual([])
  })

  test('are read anew when too many have come among the names that it holds', async () => {
    const { clock, table, nodes } = start(['z'], 1)
    clock.advance(0)
    await expect.poll(() => nodes.size).toBe(1)
    for (const [from, size] of [
      [0, 8001],
      [8000, 0],
      [0, 1],
    ] as const) {
      for (let i = from; i < from + 8000 && size !== 1; i++) {
        table.rows.set(`n-${i}`, rowOf(`n-${i}`))
        nodes.heard(`nodes n-${i}`)
      }
      await pause(0)
      clock.advance(2000)
      await expect.poll(() => nodes.size).toBe(size)
    }
  })

  test('are read anew when more have changed than it keeps names of', async () => {
    const { clock, asked, nodes, read } = start(['a', 'b'])
    await read()
    for (let i = 0; i <= 10_000; i++) nodes.heard(`nodes n-${i}`)
    expect(nodes.size).toBe(0)
    clock.advance(2000)
    await expect.poll(() => nodes.size).toBe(2)
    expect(asked.slice(2)).toEqual(['after ', 'again'])
  })
})
