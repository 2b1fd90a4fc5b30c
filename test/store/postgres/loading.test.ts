import { describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/kernel/clock.ts'
import { openPostgres } from '../../../src/store/postgres/database.ts'
import { createPostgresStore } from '../../../src/store/postgres/store.ts'
import { nodeOf } from '../../contract/store.contract.ts'
import { onePostgres } from '../../support/one-postgres.ts'
import { asOperator } from '../../support/postgres.ts'
import { silent } from '../fixture.ts'

const LIMBS = 10_000

describe('a start on PostgreSQL', () => {
  const postgres = onePostgres()

  test('reads the last heartbeat of each limb about once, however many pages the limbs fill', async () => {
    const open = () =>
      createPostgresStore(
        openPostgres({ server: postgres.server, schema: 'limb', clock: systemClock, log: silent }),
      )
    const admin = (text: string) => asOperator(postgres.server.host, text)
    const first = open()
    await first.transact((tx) => tx.putNode(nodeOf('n-0')))
    await first.close()
    await admin(`SET search_path = limb;
      INSERT INTO nodes SELECT (r).* FROM (SELECT jsonb_populate_record(n, jsonb_build_object('node_id', 'n-' || i)) r
        FROM nodes n, generate_series(1, ${LIMBS - 1}) i) made;
      INSERT INTO heartbeats SELECT node_id, 1 FROM nodes`)
    const read = async () => {
      const [row] = await admin(`SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS rows
        FROM pg_stat_user_tables WHERE schemaname = 'limb' AND relname = 'heartbeats'`)
      return Number(row?.rows)
    }
    const before = await read()
    const second = open()
    let loaded = 0
    for await (const page of second.loadNodes())
      loaded += page.filter(({ lastHeartbeatAt }) => lastHeartbeatAt === 1).length
    expect(loaded).toBe(LIMBS)
    // Its sessions end, and with that the server has counted what they read.
    await second.close()
    await expect.poll(async () => (await read()) - before).toBeGreaterThanOrEqual(LIMBS)
    expect((await read()) - before).toBeLessThan(2 * LIMBS)
    // Who stops after the first page leaves the next one on its way, and its failure is nobody's.
    const third = open()
    for await (const page of third.loadNodes()) {
      if (page.length > 0) postgres.kill()
      break
    }
    postgres.start()
    await third.close()
  })
})
