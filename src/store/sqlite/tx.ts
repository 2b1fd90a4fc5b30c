import type {
  AnswerBounds,
  AuditFilter,
  AuditRow,
  ClaimAsked,
  ClaimFacts,
  InvocationFilter,
  NameFacts,
  OfflineWait,
  Order,
  Page,
  PolicyFilter,
  Tx,
} from '../../bridge/ports.ts'
import type { InvocationRecord } from '../../domain/invocations.ts'
import type {
  AuditEntry,
  NodeKeys,
  NodeRecord,
  PairingRequestRecord,
  PolicyRecord,
  PrincipalRecord,
  RefusedEntry,
  RefusedKey,
  RefusedWidening,
  TokenRecord,
} from '../../domain/records.ts'
import { invariant } from '../../kernel/assert.ts'
import type { Room } from './room.ts'
import type { AuditTable } from './tables/audit.ts'
import type { HistoryTable } from './tables/history.ts'
import type { InvocationsTable } from './tables/invocations.ts'
import type { NodesTable } from './tables/nodes.ts'
import type { OfflineWaitsTable } from './tables/offline-waits.ts'
import type { OwnedSessionsTable } from './tables/owned-sessions.ts'
import type { PairingRequestsTable } from './tables/pairing-requests.ts'
import type { PoliciesTable } from './tables/policies.ts'
import type { PrincipalAddressesTable } from './tables/principal-addresses.ts'
import type { PrincipalsTable } from './tables/principals.ts'
import type { RefusedTable } from './tables/refused.ts'
import type { TokensTable } from './tables/tokens.ts'

export interface Tables {
  readonly nodes: NodesTable
  readonly requests: PairingRequestsTable
  readonly refused: RefusedTable
  readonly principals: PrincipalsTable
  readonly addresses: PrincipalAddressesTable
  readonly tokens: TokensTable
  readonly policies: PoliciesTable
  readonly audit: AuditTable
  readonly invocations: InvocationsTable
  readonly offlineWaits: OfflineWaitsTable
  readonly history: HistoryTable
  readonly ownedSessions: OwnedSessionsTable
  readonly room: Room
}

/** Asynchronous in form, for the port's sake; each call has answered before it returns. */
export class SqliteTx implements Tx {
  readonly #open: Tables
  #ended = false

  constructor(tables: Tables) {
    this.#open = tables
  }

  /** A work that kept its transaction and uses it later would write into somebody else's. */
  end(): void {
    this.#ended = true
  }

  get #tables(): Tables {
    invariant(!this.#ended, 'a transaction was used after it had ended')
    return this.#open
  }

  async node(nodeId: string): Promise<NodeRecord | null> {
    return this.#tables.nodes.get(nodeId)
  }

  async putNode(node: NodeRecord): Promise<void> {
    this.#tables.nodes.put(node)
  }

  async nodeKeys(nodeId: string): Promise<NodeKeys | null> {
    return this.#tables.nodes.keys(nodeId)
  }

  async putNodeKeys(nodeId: string, keys: NodeKeys): Promise<void> {
    this.#tables.nodes.putKeys(nodeId, keys)
  }

  async deleteNode(nodeId: string): Promise<void> {
    this.#tables.nodes.delete(nodeId)
    this.#tables.history.countAgain()
  }

  async request(requestId: string): Promise<PairingRequestRecord | null> {
    return this.#tables.requests.get(requestId)
  }

  async requestsOfNode(nodeId: string): Promise<readonly PairingRequestRecord[]> {
    return this.#tables.requests.ofNode(nodeId)
  }

  async putRequest(request: PairingRequestRecord): Promise<void> {
    this.#tables.requests.put(request)
  }

  async deleteRequest(requestId: string): Promise<void> {
    this.#tables.requests.delete(requestId)
  }

  async claimFacts({
    nodeId,
    address,
    now,
    maxPending,
    maxPendingPerAddress,
  }: ClaimAsked): Promise<ClaimFacts> {
    const { nodes, refused, requests } = this.#tables
    return {
      keys: nodes.keys(nodeId),
      refusedKeys: refused.keys(nodeId, now),
      requests: requests.ofNode(nodeId),
      pending: requests.count(maxPending),
      pendingFrom: address === undefined ? 0 : requests.countFrom(address, maxPendingPerAddress),
    }
  }

  async nameFacts(names: readonly string[]): Promise<NameFacts> {
    const { nodes, principals, requests } = this.#tables
    const list = JSON.stringify(names)
    return {
      nodes: new Set(nodes.among(list)),
      principals: new Set(principals.among(list)),
      requests: Map.groupBy(requests.ofNodes(list), ({ nodeId }) => nodeId),
    }
  }

  async refusedKeys(nodeId: string, now: number): Promise<readonly RefusedKey[]> {
    return this.#tables.refused.keys(nodeId, now)
  }

  async putRefusedKey(refused: RefusedKey): Promise<void> {
    this.#tables.refused.putKey(refused)
  }

  async refusedWidening(nodeId: string, now: number): Promise<RefusedWidening | null> {
    return this.#tables.refused.widening(nodeId, now)
  }

  async putRefusedWidening(refused: RefusedWidening): Promise<void> {
    this.#tables.refused.putWidening(refused)
  }

  async refused(now: number, after: string | undefined, limit: number): Promise<Page<RefusedEntry>> {
    return this.#tables.refused.page(now, after, limit)
  }

  async forgive(nodeId: string): Promise<number> {
    return this.#tables.refused.forgive(nodeId)
  }

  async principal(name: string): Promise<PrincipalRecord | null> {
    return this.#tables.principals.get(name)
  }

  async putPrincipal(principal: PrincipalRecord): Promise<void> {
    this.#tables.principals.put(principal)
  }

  async deletePrincipal(name: string): Promise<void> {
    this.#tables.principals.delete(name)
    this.#tables.tokens.deleteOf(name)
    this.#tables.addresses.delete(name)
    this.#tables.invocations.forgetKeysOf(name)
  }

  async forgetSessions(owner: string): Promise<void> {
    this.#tables.ownedSessions.deleteOf(owner)
  }

  async principals(after: string | undefined, limit: number): Promise<Page<PrincipalRecord>> {
    return this.#tables.principals.page(after, limit)
  }

  async token(tokenId: string): Promise<TokenRecord | null> {
    return this.#tables.tokens.get(tokenId)
  }

  async tokenByHash(hash: Uint8Array): Promise<TokenRecord | null> {
    return this.#tables.tokens.byHash(hash)
  }

  async tokens(
    principal: string | undefined,
    after: string | undefined,
    limit: number,
  ): Promise<Page<TokenRecord>> {
    return this.#tables.tokens.page(principal, after, limit)
  }

  async countTokens(principal: string, max: number): Promise<number> {
    return this.#tables.tokens.countOf(principal, max)
  }

  async putToken(token: TokenRecord): Promise<void> {
    this.#tables.tokens.put(token)
  }

  async deleteToken(tokenId: string): Promise<void> {
    this.#tables.tokens.delete(tokenId)
  }

  async countAdmins(max: number): Promise<number> {
    return this.#tables.principals.countAdmins(max)
  }

  async putPolicy(policy: PolicyRecord): Promise<void> {
    this.#tables.policies.put(policy)
  }

  async deletePolicy(principal: string, nodeId: string, capability: string): Promise<boolean> {
    return this.#tables.policies.delete(principal, nodeId, capability)
  }

  async policiesAt(principal: string, nodeId: string, capability: string): Promise<readonly PolicyRecord[]> {
    return this.#tables.policies.at(principal, nodeId, capability)
  }

  async policies(
    filter: PolicyFilter,
    after: string | undefined,
    limit: number,
  ): Promise<Page<PolicyRecord>> {
    return this.#tables.policies.page(filter, after, limit)
  }

  async audit(entry: AuditEntry): Promise<void> {
    this.#tables.audit.append(entry)
  }

  async auditAll(entries: readonly AuditEntry[]): Promise<void> {
    this.#tables.audit.append(...entries)
  }

  async auditRows(
    filter: AuditFilter,
    order: Order,
    after: string | undefined,
    limit: number,
  ): Promise<Page<AuditRow>> {
    return this.#tables.audit.page(filter, order, after, limit)
  }

  async nextFence(): Promise<number> {
    return this.#tables.invocations.nextFence()
  }

  async invocation(invocationId: string): Promise<InvocationRecord | null> {
    return this.#tables.invocations.get(invocationId)
  }

  async invocationBornAt(invocationId: string): Promise<number | null> {
    return this.#tables.invocations.bornAt(invocationId)
  }

  async invocationByKey(principal: string, idempotencyKey: string): Promise<InvocationRecord | null> {
    return this.#tables.invocations.byKey(principal, idempotencyKey)
  }

  async putInvocation(record: InvocationRecord): Promise<void> {
    this.#tables.invocations.put(record)
  }

  async putAnswer(invocationId: string, answer: string, bounds: AnswerBounds): Promise<number> {
    const { invocations, room } = this.#tables
    return room.has(answer.length) ? invocations.putAnswer(invocationId, answer, bounds) : 1
  }

  async answer(invocationId: string): Promise<string | null> {
    return this.#tables.invocations.answer(invocationId)
  }

  async countKeys(principal: string, max: number): Promise<number> {
    return this.#tables.invocations.countKeys(principal, max)
  }

  async dropAnswersOf(principal: string): Promise<boolean> {
    return this.#tables.invocations.dropAnswersOf(principal)
  }

  async forgetKeys(principal: string): Promise<void> {
    this.#tables.invocations.forgetKeysOf(principal)
  }

  async putOfflineWait(wait: OfflineWait): Promise<void> {
    this.#tables.offlineWaits.put(wait)
  }

  async offlineWaits(invocationIds: readonly string[]): Promise<readonly OfflineWait[]> {
    return invocationIds.flatMap((invocationId) => this.#tables.offlineWaits.get(invocationId) ?? [])
  }

  async openInvocations(limit: number): Promise<readonly InvocationRecord[]> {
    return this.#tables.invocations.open(limit)
  }

  async invocations(
    filter: InvocationFilter,
    order: Order,
    after: string | undefined,
    limit: number,
  ): Promise<Page<InvocationRecord>> {
    return this.#tables.invocations.page(filter, order, after, limit)
  }
}
