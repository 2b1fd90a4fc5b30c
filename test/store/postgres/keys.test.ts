import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../../src/kernel/clock.ts'
import { hashKey, keyMatches } from '../../../src/kernel/secrets.ts'
import type { Sql } from '../../../src/store/postgres/connection.ts'
import { openPostgres } from '../../../src/store/postgres/database.ts'
import { KeyCache } from '../../../src/store/postgres/key-cache.ts'
import { createPostgresStore } from '../../../src/store/postgres/store.ts'
import { NodeRows } from '../../../src/store/records.ts'
import { nodeOf } from '../../contract/store.contract.ts'
import { onePostgres } from '../../support/one-postgres.ts'
import { asOperator } from '../../support/postgres.ts'
import { silent } from '../fixture.ts'

const OLD = hashKey('the-old-key-of-it')
const NEW = hashKey('the-new-key-of-it')
const keysOf = (current: typeof OLD) => ({ current, next: null, currentUntil: null })

describe('keys of limbs on PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0

  /** A store with the limb cam-1, whose old key was looked up and is kept. */
  async function start() {
    const schema = `keys_${schemas++}`
    const { server } = postgres
    const store = createPostgresStore(openPostgres({ server, schema, clock: systemClock, log: silent }))
    onTestFinished(() => store.close())
    await store.transact(async (tx) => {
      await tx.putNode(nodeOf('cam-1'))
      await tx.putNodeKeys('cam-1', keysOf(OLD))
    })
    /** Which key signs cam-1 in: the old one, the new one, or none. */
    const which = async () => {
      const keys = await store.read((tx) => tx.nodeKeys('cam-1'))
      if (keys === null) return 'none'
      return keyMatches(keys.current, 'the-old-key-of-it') ? 'old' : 'new'
    }
    expect(await which()).toBe('old')
    const { salt, hash } = NEW
    const hex = (bytes: Uint8Array) => `'\\x${Buffer.from(bytes).toString('hex')}'`
    const change = `UPDATE ${schema}.node_keys SET salt = ${hex(salt)}, hash = ${hex(hash)}`
    return {
      store,
      schema,
      which,
      change,
      operator: (text: string) => asOperator(postgres.server.host, text),
    }
  }

  test('are those of the last commit, as soon as it has ended', async () => {
    const { store, which } = await start()
    await store.transact((tx) => tx.putNodeKeys('cam-1', keysOf(NEW)))
    expect(await which()).toBe('new')
    await store.transact((tx) => tx.deleteNode('cam-1'))
    expect(await which()).toBe('none')
  })

  test('are the old ones while a change is open, and after it was undone', async () => {
    const { store, which } = await start()
    const [looked, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const undone = store.transact(async (tx) => {
      await tx.putNodeKeys('cam-1', keysOf(NEW))
      looked.resolve()
      await end.promise
      throw new Error('not this time')
    })
    await looked.promise
    expect(await which()).toBe('old')
    end.resolve()
    await expect(undone).rejects.toThrow('not this time')
    expect(await which()).toBe('old')
  })

  test('that were looked up while their change was open are not kept', async () => {
    const { store, which } = await start()
    const [looked, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const changed = store.transact(async (tx) => {
      await tx.putNodeKeys('cam-1', keysOf(NEW))
      looked.resolve()
      await end.promise
    })
    await looked.promise
    expect(await which()).toBe('old')
    end.resolve()
    await changed
    expect(await which()).toBe('new')
  })

  test('that somebody else changes are told by the server', async () => {
    const { which, change, operator } = await start()
    await operator(change)
    await expect.poll(which).toBe('new')
  })

  test('that somebody else removes, all of them or more than it tells one by one, are told too', async () => {
    for (const text of ['TRUNCATE', 'DELETE FROM']) {
      const { store, which, schema, operator } = await start()
      await store.transact(async (tx) => {
        for (let i = 0; i < 150; i++) await tx.putNodeKeys(`n-${i}`, keysOf(NEW))
      })
      expect(await which()).toBe('old')
      await operator(`${text} ${schema}.node_keys`)
      await expect.poll(which).toBe('none')
    }
  })

  test('are asked for anew when the connection that listens has ended, whatever happened meanwhile', async () => {
    const { which, change, operator } = await start()
    await operator(
      `BEGIN; SET LOCAL session_replication_role = replica; ${change}; COMMIT;
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'limb-bridge'`,
    )
    // The one that meets the end may be refused.
    await expect.poll(() => which().catch(() => 'refused')).toBe('new')
  })
})

describe('the cache of keys', () => {
  /** Answers what it is asked when it is let. */
  function start(max?: number) {
    const cache = new KeyCache(new NodeRows(), max)
    const asked: string[][] = []
    let answer = Promise.resolve()
    const sql: Sql = {
      async all(_text, names) {
        asked.push([...(names as string[])])
        await answer
        return (names as string[]).map((node_id) => ({
          node_id,
          salt: OLD.salt,
          hash: OLD.hash,
          next_salt: null,
          next_hash: null,
          current_until: null,
        }))
      },
      run: () => Promise.reject(new Error('it only reads')),
    }
    const get = (nodeId: string, hears = true) => cache.get(sql, nodeId, hears)
    const hold = () => {
      const held = Promise.withResolvers<void>()
      answer = held.promise
      return held.resolve
    }
    return { cache, asked, get, hold }
  }

  test('asks once for what is looked up in one turn, and not again for what it keeps', async () => {
    const { asked, get } = start()
    await Promise.all(['a', 'b', 'a', 'c'].map((name) => get(name)))
    expect(asked).toEqual([['a', 'b', 'c']])
    await get('b')
    expect(asked).toHaveLength(1)
  })

  test('asks each time while it is not sure that it would be told of a change', async () => {
    const { asked, get } = start()
    await get('a')
    await get('a', false)
    await get('a', false)
    expect(asked).toHaveLength(3)
  })

  test.each([
    ['told of its change', 'keys a'],
    ['told that many have changed', 'keys'],
    ['out of hearing', undefined],
  ])('keeps no answer that was on its way when it was %s', async (_, told) => {
    const { cache, asked, get, hold } = start()
    const release = hold()
    const first = get('a')
    await expect.poll(() => asked.length).toBe(1)
    if (told === undefined) cache.forget()
    else cache.heard(told)
    release()
    await first
    await get('a')
    expect(asked).toHaveLength(2)
  })

  test('keeps so many, and lets those go first that were looked up longest ago', async () => {
    const { asked, get } = start(2)
    for (const name of ['a', 'b', 'c']) await get(name)
    await get('c')
    expect(asked).toHaveLength(3)
    await get('a')
    expect(asked).toHaveLength(4)
  })
})
