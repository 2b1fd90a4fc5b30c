import { Leasing } from '../access/leasing.ts'
import { PolicyEntries } from '../access/policy-entries.ts'
import type { PendingApprovals } from '../invocation/approvals.ts'
import type { Control } from '../invocation/control.ts'
import type { Announcer } from '../live/announcer.ts'
import type { LimbTroubles } from '../live/limb-troubles.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { RefusedRequests } from '../live/refused-requests.ts'
import type { Registry } from '../live/registry.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { PairingAnswers } from '../pairing/answers.ts'
import { ApprovedLimbs } from '../pairing/approved-limbs.ts'
import type { Pairings } from '../pairing/pairings.ts'
import { Provisioning } from '../pairing/provisioning.ts'
import type { WindowKeeper } from '../pairing/window.ts'
import type { History } from '../presence/history.ts'
import type { PresenceKeeper } from '../presence/presence-keeper.ts'
import type { BridgeContext } from '../settings.ts'
import type { Attempts } from '../sign-in/attempts.ts'
import { Principals } from '../sign-in/principals.ts'
import { TokenOwners } from '../sign-in/token-owners.ts'
import type { Tokens } from '../sign-in/tokens.ts'
import type { VerifiedPasswords } from '../sign-in/verified-passwords.ts'
import type { Retries } from '../upkeep/retries.ts'
import type { VerbHandlers } from '../verb-context.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'
import { auditHandlers } from './audit.ts'
import { backupHandlers } from './backup.ts'
import { bridgeHandlers } from './bridge.ts'
import { invocationHandlers } from './invocation.ts'
import { leaseHandlers } from './lease.ts'
import { nodeHandlers } from './node.ts'
import { nodeDescriptionHandlers } from './node-description.ts'
import { pairingHandlers } from './pairing.ts'
import { policyHandlers } from './policy.ts'
import { principalHandlers } from './principal.ts'
import { sessionHandlers } from './session.ts'
import { tokenHandlers } from './token.ts'
import type { RequestsUnderWay } from './under-way.ts'
import { webhookHandlers } from './webhook.ts'

/** The use cases that the verbs are views of. */
export interface UseCases {
  readonly registry: Registry
  readonly pending: PendingPairingRequests
  readonly table: SessionTable
  readonly presence: PresenceKeeper
  readonly history: History
  readonly announcer: Announcer
  readonly answers: PairingAnswers
  readonly pairings: Pairings
  readonly underWay: RequestsUnderWay
  readonly window: WindowKeeper
  readonly control: Control
  readonly approvals: PendingApprovals
  readonly tokens: Tokens
  readonly attempts: Attempts
  readonly retries: Retries
  readonly verified: VerifiedPasswords
  readonly webhooks: Webhooks
  readonly troubles: LimbTroubles
  readonly refusedLeases: RefusedRequests
}

/** Makes the handlers of all verbs. A new verb is added to its family's file; a new family is added here. */
export function verbHandlers(shared: BridgeContext, use: UseCases): VerbHandlers {
  const { registry, announcer, control, approvals, retries, underWay } = use
  const context = { ...shared, store: underWay.storeOf(shared.store) }
  const { policies, leases, rights, invocations } = control
  const provisioning = new Provisioning(context, { ...use, isHurried: () => underWay.isStopping })
  const limbs = new ApprovedLimbs(context, { ...use, gone: (nodeId) => control.nodeGone(nodeId) })
  const look = (at: { principal: string; nodeId: string }) => control.look(at)
  const entries = new PolicyEntries(context, { registry, policies, announcer, look })
  const owners = new TokenOwners(context, use)
  const leasing = new Leasing(context, { registry, rights, leases, refused: use.refusedLeases })
  const principals = new Principals(context, {
    ...use,
    roleChanged: (name, role) => control.roleChanged(name, role),
    gone: (name) => control.principalGone(name),
    forgetSessions: (name) =>
      retries.run(`forget the sessions of ${name}`, () => context.sessions.forget(name)),
  })
  return {
    ...nodeHandlers(context, { ...use, provisioning, limbs }),
    ...nodeDescriptionHandlers(context, use),
    ...pairingHandlers(context, use),
    ...policyHandlers(entries),
    ...leaseHandlers({ leases, leasing }),
    ...invocationHandlers(context, approvals, invocations),
    ...auditHandlers(context),
    ...principalHandlers(principals),
    ...sessionHandlers(context),
    ...tokenHandlers(context, { ...use, owners }),
    ...backupHandlers(context, announcer),
    ...webhookHandlers(use.webhooks),
    ...bridgeHandlers(context, use),
  }
}
