import type { ClaimAsked, ClaimFacts } from '../../../bridge/ports.ts'
import { addressGroup } from '../../../kernel/address.ts'
import { type NodeRows, refusedKeyOfRow, requestOfRow } from '../../records.ts'
import type { SqlRow } from '../../rows.ts'
import type { Sql } from '../connection.ts'
import { fromStored } from '../texts.ts'

/** One statement for all that a claim is decided from; the few rows of each kind come as JSON. */
const FACTS = `SELECT k.*,
    (SELECT json_agg(c) FROM refused_keys c WHERE c.node_id = $1 AND c.until > $2) AS refused,
    (SELECT json_agg(r ORDER BY r.requested_at, r.request_id) FROM requests r WHERE r.node_id = $1) AS requests,
    (SELECT count(*) FROM (SELECT 1 FROM requests LIMIT $3) p) AS pending,
    (SELECT count(*) FROM (SELECT 1 FROM requests WHERE network = $4 LIMIT $5) f) AS pending_from
  FROM (SELECT 1) one LEFT JOIN node_keys k ON k.node_id = $1`

export async function claimFacts(sql: Sql, nodes: NodeRows, asked: ClaimAsked): Promise<ClaimFacts> {
  const { nodeId, address, now, maxPending, maxPendingPerAddress } = asked
  const network = address === undefined ? null : addressGroup(address)
  const [row] = await sql.all(FACTS, nodeId, now, maxPending + 1, network, maxPendingPerAddress + 1)
  return {
    keys: row?.node_id === null ? null : nodes.keys(row),
    refusedKeys: rowsOf(row?.refused).map((each) => refusedKeyOfRow(each)),
    requests: rowsOf(row?.requests).map((each) => requestOfRow(each)),
    pending: Number(row?.pending),
    pendingFrom: Number(row?.pending_from),
  }
}

const BYTES = ['hash', 'salt']

/** Rows as a statement of their own would give them: in JSON, bytes are hexadecimal, and texts are as they are stored. */
function rowsOf(list: unknown): SqlRow[] {
  return ((list ?? []) as SqlRow[]).map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([column, value]) => {
        if (typeof value !== 'string') return [column, value]
        return [column, BYTES.includes(column) ? bytesOf(value) : fromStored(value)]
      }),
    ),
  )
}

function bytesOf(hexadecimal: string): Uint8Array {
  return Buffer.from(hexadecimal.slice('\\x'.length), 'hex')
}
