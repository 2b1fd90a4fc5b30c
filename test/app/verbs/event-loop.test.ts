import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, it, onTestFinished } from 'vitest'
import { startApp } from '../../support/app.ts'
import { patience } from '../../support/patience.ts'
import { connectRaw } from '../../support/raw-client.ts'

/** The longest turn that anything may take, in milliseconds of this thread: a busy machine makes none of them longer. */
const MAX_TURN_MS = 50
const NODES = 3000
/** The limbs of one request: with their capabilities, nearly as many objects, lists and texts as one may have. */
const IMPORTED = 450
const ROWS = 20_000

/** Measures what the thread works in each turn of the event loop while something goes on. */
async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  let longest = 0
  let over = false
  let before = process.threadCpuUsage()
  const turn = () => {
    const { user, system } = process.threadCpuUsage(before)
    longest = Math.max(longest, (user + system) / 1000)
    before = process.threadCpuUsage()
    if (!over) setImmediate(turn)
  }
  setImmediate(turn)
  await work()
  over = true
  await new Promise((done) => setImmediate(done))
  return longest
}

it(
  'answers whatever is asked in turns of at most 50 ms',
  async () => {
    await using app = await startApp({ mqtt: { maxWorkMsPerSecond: 1000 } })
    const admin = await app.admin()
    const { password } = await admin.do('admin', 'principal/add', { name: 'dash', role: 'viewer' })
    const capabilities = Array.from({ length: 5 }, (_, i) => ({
      cap: `cap${i}`,
      commands: [`cap${i}.on`, `cap${i}.off`],
      authLevel: 'free',
    }))
    const nodes = Array.from({ length: NODES }, (_, i) => ({ nodeId: `node${i}`, capabilities }))
    for (let i = 0; i < NODES; i += IMPORTED)
      await admin.do('admin', 'node/import', { nodes: nodes.slice(i, i + IMPORTED) })
    fill(join(app.folder, 'limb.sqlite'))

    const client = await connectRaw(app.bridge.mqtt, { clientId: 'w', username: 'dash', password })
    onTestFinished(() => client.cut())
    let answers = 0
    let taken = 0
    client.onMessage = (topic) => {
      if (topic.includes('/response/')) answers++
      else taken++
    }
    await client.subscribe('limb/principal/dash/response/#')
    const ask = async (verb: string, args: object, times = 4) => {
      const wanted = answers + times
      for (let i = 0; i < times; i++)
        await client.publish(
          `limb/principal/dash/request/${verb}`,
          JSON.stringify({ transaction: i, ...args }),
        )
      await expect.poll(() => answers, { timeout: 60_000 }).toBeGreaterThanOrEqual(wanted)
    }
    // The first of everything compiles it.
    await ask('node/list', { limit: 10 }, 20)
    const turns: Record<string, number> = {}
    const measure = async (name: string, work: () => Promise<unknown>) => {
      turns[name] = await longestTurn(work)
    }
    await measure('node/list', () => ask('node/list', { limit: 1000 }))
    await measure('node/list, the last page', () => ask('node/list', { limit: 1000, after: 'node8' }))
    await measure('invocation/list', () => ask('invocation/list', { limit: 1000 }))
    await measure('invocation/list of nobody', () =>
      ask('invocation/list', { principal: 'nobody', limit: 1000 }),
    )
    await measure('invocation/list of a state', () =>
      ask('invocation/list', { state: 'waiting', limit: 1000 }),
    )
    await measure('audit/list', () => ask('audit/list', { limit: 1000 }))
    await measure('audit/list of a family', () => ask('audit/list', { kind: 'lease.', limit: 1000 }))
    await measure('policy/list', () => ask('policy/list', { limit: 1000 }))
    await measure('principal/list', () => ask('principal/list', { limit: 1000 }))
    await measure('node/history', () => ask('node/history', { nodeId: 'node1' }))
    await measure('node/import', async () => {
      const more = Array.from({ length: IMPORTED }, (_, i) => ({ nodeId: `more${i}`, capabilities }))
      await admin.do('admin', 'node/import', { nodes: more })
    })
    await measure('bridge/health', () => ask('bridge/health', {}))
    await measure('all retained topics', async () => {
      await client.subscribe('#')
      await expect.poll(() => taken, { timeout: 60_000 }).toBeGreaterThan(NODES * 2)
    })
    expect(Object.entries(turns).filter(([, ms]) => ms > MAX_TURN_MS)).toEqual([])
  },
  patience(90_000),
)

/** Rows that would take long to make by asking. */
function fill(file: string): void {
  const sql = new Sqlite(file)
  sql.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
    INSERT INTO invocations (invocation_id, principal, node_id, capability, command, params_hash, level, state, created_at, ended_at)
    SELECT 'iv_' || i, 'p' || (i % 50), 'node' || (i % ${NODES}), 'cap1', 'cap1.on', 'a1', 'free', 'done', i, i FROM n`)
  sql.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
    INSERT INTO policies SELECT 'p' || (i % 50), 'node' || (i % ${NODES}), 'cap' || i, 'free', i, 'admin' FROM n`)
  sql.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO presence_history (node_id, at, status, reason)
    SELECT 'node1', i, CASE i % 2 WHEN 0 THEN 'offline' ELSE 'online' END, 'heartbeat' FROM n`)
  sql.close()
}
