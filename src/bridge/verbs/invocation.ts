import type { InvocationRecord } from '../../domain/invocations.ts'
import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { roleReaches } from '../../protocol/names.ts'
import type { ShownInvocation } from '../../protocol/schemas.ts'
import type { PendingApprovals } from '../invocation/approvals.ts'
import { endedAlready } from '../invocation/ending.ts'
import type { Invocations } from '../invocation/invocations.ts'
import type { OpenInvocation } from '../invocation/open-invocation.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlers, VerbHandlersOf } from '../verb-context.ts'

/** The verbs about invocations. */
export function invocationHandlers(
  context: BridgeContext,
  approvals: PendingApprovals,
  invocations: Invocations,
): VerbHandlersOf<'invocation'> & Pick<VerbHandlers, 'invoke'> {
  const { store } = context

  async function known(invocationId: string): Promise<InvocationRecord> {
    await store.settled()
    const record =
      invocations.open.get(invocationId)?.record ?? (await store.read((tx) => tx.invocation(invocationId)))
    if (!record) {
      throw new Refusal(
        'not_found',
        `there is no invocation ${invocationId}; see invocation/list`,
        'invocationId',
      )
    }
    return record
  }

  /** The invocation that waits for a decision. */
  async function waiting(invocationId: string): Promise<OpenInvocation> {
    const found = approvals.get(invocationId)
    if (found) return found.invocation
    const { state } = await known(invocationId)
    throw new Refusal('conflict', `this invocation waits for nobody: it is ${state}`, 'invocationId')
  }

  /** Shows an invocation with what is known only of one that is under way. */
  function showOpen(record: InvocationRecord): ShownInvocation {
    const invocation = invocations.open.get(record.invocationId)
    const shown = showInvocation(record)
    if (invocation === undefined) return shown
    const { transaction } = invocation.caller
    return {
      ...shown,
      ...(transaction === undefined ? {} : { transaction }),
      ...(invocation.isAway ? { awaitsLimbUntil: iso(context.running.wallMs(invocation.awayUntil)) } : {}),
      ...(invocation.askers.size === 0 ? { callerAway: true } : {}),
    }
  }

  return {
    invoke(args, caller) {
      if (args.noCheck && !roleReaches(caller.role, 'operator')) {
        throw new Refusal(
          'forbidden',
          `noCheck is for operators; ${caller.name} is ${caller.role}`,
          'noCheck',
        )
      }
      return invocations.invoke(args, caller)
    },

    async 'invocation/list'({ limit, after, order, state, principal, nodeId }) {
      await store.settled()
      const page = await store.read((tx) =>
        tx.invocations({ state, principal, nodeId }, order ?? 'newest', after, limit ?? LIMITS.listDefault),
      )
      return { items: page.items.map(showOpen), ...(page.next === undefined ? {} : { next: page.next }) }
    },

    async 'invocation/get'({ invocationId }) {
      const found = approvals.get(invocationId)
      return {
        ...showOpen(await known(invocationId)),
        ...(found ? { params: found.invocation.wish.params(), expiresAt: found.shown.expiresAt } : {}),
      }
    },

    async 'invocation/approve'({ invocationId, paramsHash, reason }, caller) {
      const invocation = await waiting(invocationId)
      if (paramsHash !== undefined && paramsHash !== invocation.record.paramsHash) {
        throw new Refusal(
          'conflict',
          'these are not the params of this invocation; look at it again',
          'paramsHash',
        )
      }
      return showInvocation(await invocations.decisions.approve(invocation, caller.name, reason))
    },

    async 'invocation/deny'({ invocationId, reason }, caller) {
      const invocation = await waiting(invocationId)
      return showInvocation(await invocations.decisions.deny(invocation, caller.name, reason))
    },

    async 'invocation/cancel'({ invocationId, reason }, caller) {
      const record = await known(invocationId)
      const own = record.principal === caller.name
      if (!own && !roleReaches(caller.role, 'operator')) {
        throw new Refusal(
          'forbidden',
          `${invocationId} is an invocation of ${record.principal}; an operator may cancel it`,
          'invocationId',
        )
      }
      const invocation = invocations.open.get(invocationId)
      if (invocation) await invocations.takeBack(invocation, caller.name, reason)
      else if (record.state !== 'cancelled') throw endedAlready(record)
      return { invocationId, state: 'cancelled' }
    },
  }
}

function showInvocation(record: InvocationRecord): ShownInvocation {
  const { endedAt, fence, idempotencyKey, decidedBy, reason, error, late } = record
  return {
    invocationId: record.invocationId,
    principal: record.principal,
    nodeId: record.nodeId,
    capability: record.capability,
    command: record.command,
    paramsHash: record.paramsHash,
    level: record.level,
    state: record.state,
    createdAt: iso(record.createdAt),
    ...(endedAt === null ? {} : { endedAt: iso(endedAt) }),
    ...(fence === null ? {} : { fence }),
    ...(idempotencyKey === null ? {} : { idempotencyKey }),
    ...(decidedBy === null ? {} : { decidedBy }),
    ...(reason === null ? {} : { reason }),
    ...(late === undefined ? {} : { late: { at: iso(late.at), success: late.success } }),
    ...(error === null
      ? {}
      : { error: { ...error, ...(error.details ? { details: { ...error.details } } : {}) } }),
  }
}
