import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { AuditTable } from '../../src/store/sqlite/tables/audit.ts'
import type { BridgeProcess } from '../support/bridge-process.ts'
import { connectControl } from '../support/control-client.ts'
import { patience } from '../support/patience.ts'
import { connectRaw } from '../support/raw-client.ts'
import { type LimbState, type ModelLimb, UNKNOWN } from './model.ts'
import { AGENT } from './stream.ts'

/** What is on the disk, and what the bridge says, after it was killed and started again. */

/** Each finds what a torn change would leave; the name says what that would be. */
const HALVES: Readonly<Record<string, string>> = {
  'a node without its key': 'SELECT node_id FROM nodes WHERE node_id NOT IN (SELECT node_id FROM node_keys)',
  'a key without its node': 'SELECT node_id FROM node_keys WHERE node_id NOT IN (SELECT node_id FROM nodes)',
  'a claim without its key': "SELECT node_id FROM requests WHERE kind <> 'widen' AND hash IS NULL",
  'a request beside its approval': `SELECT node_id FROM requests JOIN nodes USING (node_id) WHERE kind = 'new'`,
  'a request beside its rejection': 'SELECT node_id FROM requests JOIN refused_keys USING (node_id, hash)',
  'a node beside its rejection or revocation':
    'SELECT node_id FROM node_keys JOIN refused_keys USING (node_id, hash)',
  'a widening of no node':
    "SELECT node_id FROM requests WHERE kind = 'widen' AND node_id NOT IN (SELECT node_id FROM nodes)",
  'a policy of a revoked node':
    "SELECT node_id FROM policies WHERE node_id <> '*' AND node_id NOT IN (SELECT node_id FROM nodes)",
  'a node without the record of its approval': `SELECT node_id FROM nodes WHERE NOT EXISTS
    (SELECT 1 FROM audit WHERE audit.node_id = nodes.node_id AND kind = 'pairing.approved')`,
  'a request without the record of it': `SELECT node_id FROM requests WHERE NOT EXISTS
    (SELECT 1 FROM audit_attempts AS asked WHERE asked.node_id = requests.node_id AND kind = 'pairing.requested'
      AND json_extract(detail, '$.requestId') = request_id)`,
  'a refused key without the record of it': `SELECT node_id FROM refused_keys WHERE NOT EXISTS
    (SELECT 1 FROM audit WHERE audit.node_id = refused_keys.node_id
      AND kind IN ('pairing.rejected', 'node.revoked'))`,
}

interface Row {
  readonly node_id: string
}

export class Disk {
  readonly #sql: Sqlite.Database

  constructor(folder: string) {
    this.#sql = new Sqlite(join(folder, 'limb.sqlite'), { readonly: true })
  }

  [Symbol.dispose](): void {
    this.#sql.close()
  }

  /** What is wrong with it, in words; empty when it is whole. */
  faults(): string[] {
    const found = Object.entries(HALVES).flatMap(([name, query]) =>
      (this.#sql.prepare(query).all() as Row[]).map((row) => `${name}: ${row.node_id}`),
    )
    const integrity = this.#sql.pragma('integrity_check', { simple: true })
    if (integrity !== 'ok') found.push(`integrity_check: ${String(integrity)}`)
    const audit = new AuditTable(this.#sql).verify()
    if (!audit.whole) found.push(`the audit log is broken at row ${audit.brokenAt}`)
    return found
  }

  /** The state of every limb that left a trace. */
  limbs(): Map<string, LimbState> {
    const states = new Map<string, LimbState>()
    const change = (id: string, part: Partial<LimbState>) =>
      states.set(id, { ...(states.get(id) ?? UNKNOWN), ...part })
    const caps = (list: { cap: string }[]) => list.map(({ cap }) => cap)

    for (const { node_id } of this.#sql.prepare('SELECT node_id FROM refused_keys').all() as Row[])
      change(node_id, { phase: 'refused' })
    for (const row of this.#all<{ node_id: string; name: string; capabilities: string }>(
      'SELECT node_id, coalesce(operator_name, display_name) AS name, capabilities FROM nodes',
    )) {
      const approved = caps(JSON.parse(row.capabilities) as { cap: string }[])
      change(row.node_id, { phase: 'approved', displayName: row.name, caps: approved })
    }
    for (const row of this.#all<{ node_id: string; request_id: string; kind: string; registration: string }>(
      'SELECT node_id, request_id, kind, registration FROM requests',
    )) {
      const { displayName, capabilities } = JSON.parse(row.registration) as {
        displayName: string
        capabilities: { cap: string }[]
      }
      const asked = caps(capabilities)
      const { request_id: requestId } = row
      if (row.kind === 'widen') change(row.node_id, { requestId, wanted: asked })
      else change(row.node_id, { requestId, phase: 'pending', displayName, caps: asked })
    }
    for (const row of this.#all<{ node_id: string; capability: string; level: string }>(
      `SELECT node_id, capability, level FROM policies WHERE principal = '${AGENT}'`,
    )) {
      const policies = { ...states.get(row.node_id)?.policies, [row.capability]: row.level }
      change(row.node_id, { policies })
    }
    return states
  }

  #all<T>(query: string): T[] {
    return this.#sql.prepare(query).all() as T[]
  }
}

/** Limbs of which something acknowledged is missing, or something unacknowledged is there in part. */
export function settleAll(limbs: readonly ModelLimb[], disk: ReadonlyMap<string, LimbState>): string[] {
  return limbs.flatMap((limb) => {
    const { sure, maybe } = limb
    const actual = disk.get(limb.name) ?? UNKNOWN
    if (limb.settle(actual)) return []
    return [
      `${limb.name}: acknowledged ${JSON.stringify(sure)}, under way ${JSON.stringify(maybe)}, found ${JSON.stringify(actual)}`,
    ]
  })
}

interface ShownNode {
  readonly nodeId: string
  readonly displayName: string
  readonly status: string
  readonly reason: string
}

/** As a dashboard that has just subscribed sees them; when it has waited long enough, those that came. */
async function retainedStatuses(bridge: BridgeProcess, expected: number): Promise<string[]> {
  const client = await connectRaw({ socket: bridge.control }, { clientId: 'dashboard-of-the-test' })
  const seen: string[] = []
  const all = new Promise<void>((resolve) => {
    client.onMessage = (topic, payload) => {
      if (seen.push(`${topic} ${payload.toString()}`) === expected) resolve()
    }
  })
  await client.subscribe('limb/node/+/status')
  if (expected > 0) await Promise.race([all, sleep(patience(5000))])
  client.end()
  return seen
}

/** What the bridge says that is not what it stores; and whoever is not offline because it was killed. */
export async function wireFaults(bridge: BridgeProcess, limbs: readonly ModelLimb[]): Promise<string[]> {
  const control = await connectControl(bridge.control)
  const nodes = await control.list<ShownNode>('node/list')
  const requests = await control.list<{ requestId: string }>('pairing/list')
  const policies = await control.list<{ nodeId: string }>('policy/list', { principal: AGENT })
  control.client.end()

  const faults = nodes
    .filter(({ status, reason }) => status !== 'offline' || reason !== 'bridge_restart')
    .map(({ nodeId, status, reason }) => `${nodeId} is ${status} (${reason})`)
  const sure = limbs.map((limb) => limb.sure)
  const approved = limbs.filter((limb) => limb.sure.phase === 'approved')
  const same = (what: string, told: readonly string[], known: readonly string[]) => {
    if ([...told].sort().join('\n') !== [...known].sort().join('\n'))
      faults.push(`${what}: ${told.length} told, ${known.length} stored`)
  }
  same(
    'nodes',
    nodes.map(({ nodeId, displayName }) => `${nodeId} ${displayName}`),
    approved.map(({ name, sure: { displayName } }) => `${name} ${displayName}`),
  )
  same(
    'retained statuses',
    await retainedStatuses(bridge, approved.length),
    approved.map(({ name }) => `limb/node/${name}/status offline`),
  )
  same(
    'requests',
    requests.map(({ requestId }) => requestId),
    sure.flatMap(({ requestId }) => (requestId === null ? [] : [requestId])),
  )
  same(
    'policies',
    policies.map(({ nodeId }) => nodeId),
    limbs.flatMap(({ name, sure: state }) => Object.keys(state.policies).map(() => name)),
  )
  return faults
}
