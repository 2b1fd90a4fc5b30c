import { z } from 'zod'
import { LIMITS } from '../../protocol/limits.ts'
import type { OfflineWait } from '../ports.ts'
import { keptParams } from './kept-params.ts'
import type { InvocationWish, OpenInvocation } from './open-invocation.ts'

/** The part of a request that is in no row of `invocations`, and is needed to go on after a restart. */
const keptSchema = z.object({
  capability: z.string().optional(),
  params: z.unknown(),
  unchecked: z.boolean(),
  timeoutMs: z.number().optional(),
  waitMs: z.number(),
  offlineWaitMs: z.number(),
})

/** Makes what is stored of an invocation that waits for its limb. */
export function keptOf({ record, wish, awayUntil }: OpenInvocation): OfflineWait {
  const { capability, params, unchecked, timeoutMs, waitMs, offlineWaitMs } = wish
  const asked = JSON.stringify({ capability, params: params(), unchecked, timeoutMs, waitMs, offlineWaitMs })
  return { invocationId: record.invocationId, asked, endsAt: awayUntil }
}

/** Reads it back; undefined when it is not what `keptOf` wrote. */
export function wishOf(
  { command, nodeId, paramsHash, idempotencyKey, fingerprint }: OpenInvocation['record'],
  { asked }: OfflineWait,
): InvocationWish | undefined {
  const kept = keptSchema.safeParse(parsed(asked))
  if (!kept.success || idempotencyKey === null) return undefined
  const { capability, timeoutMs, params = {}, ...rest } = kept.data
  const paramsBytes = Math.min(Buffer.byteLength(JSON.stringify(params)), LIMITS.paramsBytes)
  return {
    ...rest,
    params: keptParams(params, paramsBytes),
    capability,
    timeoutMs,
    nodeId,
    command,
    paramsHash,
    fingerprint: fingerprint ?? undefined,
    key: idempotencyKey,
    paramsBytes,
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
