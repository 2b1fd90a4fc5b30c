import { Refusal } from '../../kernel/errors.ts'
import { type Role, roleReaches } from '../../protocol/names.ts'
import { VERBS } from '../../protocol/verbs.ts'
import { LeaseRights } from '../access/lease-rights.ts'
import { Leases } from '../access/leases.ts'
import { Policies } from '../access/policies.ts'
import type { Announcer } from '../live/announcer.ts'
import type { Registry } from '../live/registry.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { Pruned, Session, UnreadMessage } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { Retries } from '../upkeep/retries.ts'
import { AdapterTransport } from './adapter-transport.ts'
import type { PendingApprovals } from './approvals.ts'
import { HttpTransport } from './http-transport.ts'
import { Invocations } from './invocations.ts'
import { KEY_MS } from './log.ts'
import { MqttTransport, noHttp } from './mqtt-transport.ts'
import { OpenInvocations } from './open-invocations.ts'
import { QueuedInvocations } from './queued-invocations.ts'
import { Results } from './results.ts'
import { TargetSelector } from './target.ts'

const DAY_MS = 86_400_000

/** Policy, leases, invocations and the audit log: how limbs are used, and the record of it. */
export class Control {
  readonly policies: Policies
  readonly leases: Leases
  readonly invocations: Invocations
  readonly rights: LeaseRights
  readonly #queued: QueuedInvocations
  readonly #context: BridgeContext
  readonly #results: Results
  readonly #retries: Retries
  readonly #adapter: AdapterTransport

  constructor(
    context: BridgeContext,
    parts: {
      registry: Registry
      table: SessionTable
      approvals: PendingApprovals
      announcer: Announcer
      retries: Retries
    },
  ) {
    const { registry, table, approvals, announcer } = parts
    this.#context = context
    this.#retries = parts.retries
    this.policies = new Policies(context.store, context.settings.policy.floor)
    this.leases = new Leases(context, announcer)
    this.#adapter = new AdapterTransport(table)
    this.rights = new LeaseRights(context, { registry, policies: this.policies, leases: this.leases })
    const open = new OpenInvocations(context.settings.invocation)
    const targets = new TargetSelector({
      clock: context.clock,
      registry,
      policies: this.policies,
      leases: this.leases,
      mqtt: new MqttTransport(context.topics, table),
      adapter: this.#adapter,
      http: context.invokeOverHttp ? new HttpTransport(context.invokeOverHttp, context, table) : noHttp,
      open,
    })
    this.invocations = new Invocations(context, { open, targets, leases: this.leases, approvals, announcer })
    this.#results = new Results(context, this.invocations)
    this.#queued = new QueuedInvocations(this.invocations, targets, context.clock)
    registry.onCapabilities = ({ record: { nodeId } }) => void this.look({ principal: '*', nodeId })
    registry.onAwake = ({ record: { nodeId } }) => this.limbIsThere(nodeId)
    registry.onOffline = (limb) => this.#queued.limbGone(limb)
  }

  /** Does what follows from a change of policies or capabilities. */
  async look(at: { principal: string; nodeId: string }): Promise<void> {
    // Those in the queues first, so that no lease passes to one that may not use it.
    await this.#queued.look(at)
    await this.rights.look(at)
  }

  /** Ends on record what was under way when the bridge stopped; on a full disk later. Before any listener opens. */
  async load(): Promise<void> {
    const { log } = this.invocations
    const underWay = await log.underWay()
    if (underWay.length === 0) return
    const resumed = await this.invocations.resume(log.kept(underWay))
    const invocations = underWay.filter(({ invocationId }) => !resumed.has(invocationId))
    if (resumed.size > 0) {
      this.#context.log.info({ resumed: resumed.size }, 'invocations go on waiting for their limbs')
    }
    if (invocations.length === 0) return
    await this.#retries.run('end the invocations that were under way when the bridge stopped', async () => {
      await log.interrupt(invocations)
      this.#context.log.warn(
        { interrupted: invocations.length },
        'invocations were under way when the bridge stopped; they have ended',
      )
    })
  }

  /** The number of invocations that have not ended, by state. */
  get openInvocations(): Invocations['byState'] {
    return this.invocations.byState
  }

  /** Foreign firmware may have answered. Total and quick. */
  published(topic: string, payload: Uint8Array): void {
    this.#adapter.heard(topic, payload)
  }

  /** A limb has come, or hears now. */
  limbIsThere(nodeId: string): void {
    this.invocations.limbIsThere(nodeId)
  }

  /** Ends what the session asked for and what waits: nobody is there to answer. */
  callerGone(session: Session): void {
    this.invocations.callerGone(session)
  }

  result(session: Session, payload: Uint8Array, correlation?: Uint8Array): void {
    this.#results.receive(session, payload, correlation)
  }

  /** A result was too large to be kept. */
  unreadResult(session: Session, message: UnreadMessage): void {
    this.#results.unread(session, message)
  }

  /** Is called after the commit that revoked the node and removed its policies. */
  nodeGone(nodeId: string): void {
    this.policies.gone(nodeId)
    const gone = new Refusal('not_found', `${nodeId} has been revoked`, 'nodeId')
    this.invocations.cancel((invocation) => invocation.record.nodeId === nodeId, gone)
    this.leases.nodeGone(nodeId)
  }

  /**
   * Is called after the commit that removed the principal and its policies. What a limb works on goes on: its end is
   * what becomes of it, and until then the limb is nobody else's.
   */
  principalGone(name: string): void {
    this.policies.gone(name)
    this.invocations.principalGone(name, new Refusal('denied', `${name} has been removed`))
    this.leases.principalGone(name)
  }

  /**
   * Is called after the commit: a principal that may invoke no more holds nothing, and what it asked for and waits is
   * not sent.
   */
  roleChanged(name: string, role: Role): void {
    if (roleReaches(role, VERBS.invoke.role)) return
    const refused = new Refusal('denied', `${name} is ${role} now, and may not invoke any more`)
    this.invocations.cancel(({ record }) => record.principal === name && record.state !== 'running', refused)
    for (const lease of [...this.leases.values()]) {
      if (lease.wish.principal === name && !lease.wish.single) this.leases.end(lease, 'not_allowed')
    }
  }

  /** Stops while the sessions are still there: every caller is answered. */
  async stop(): Promise<void> {
    this.#results.stop()
    const ended = this.invocations.stop()
    this.leases.stop()
    await ended
  }

  /** Deletes some of what may go: what is old by the running clock, and what is beyond a number. */
  async prune(): Promise<Pruned> {
    const { clock, running, store, settings } = this.#context
    const { invocationDays, maxInvocations, auditDays, attemptDays } = settings.retention
    const { maxAuditRows, maxActivityRows, maxAttemptRows } = settings.retention
    const now = running.now()
    return await store.prune({
      at: clock.wallMs(),
      running: now,
      invocationsBefore: now - invocationDays * DAY_MS,
      maxInvocations,
      keysBefore: now - KEY_MS,
      auditBefore: now - auditDays * DAY_MS,
      maxAuditRows,
      maxActivityRows,
      attemptsBefore: now - attemptDays * DAY_MS,
      maxAttemptRows,
    })
  }
}
