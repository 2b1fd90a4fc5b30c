import { CAPABILITY_PATTERN, isName } from './names.ts'
import { holdsInfinity, type InvocationResult, MAX_INVOCATION_ID_CHARS } from './schemas.ts'

/**
 * The two messages of most invocations, checked by hand at a fraction of a schema's cost. Undefined for everything
 * else, wrong or only rare, which the schema then judges. A property test holds the two together.
 */

/** Reads what a limb answers when all went well. */
export function fastResult(value: unknown): InvocationResult | undefined {
  if (!isObject(value)) return undefined
  const { invocationId, success, data, artifactUri, error } = value
  if (typeof invocationId !== 'string' || invocationId.length > MAX_INVOCATION_ID_CHARS) return undefined
  if (success !== true || artifactUri !== undefined || error !== undefined) return undefined
  if (data === undefined) return { invocationId, success }
  return holdsInfinity(data, 0) ? undefined : { invocationId, success, data }
}

/** Arguments of `invoke` that name a limb, a command and params, and nothing more. */
export function fastInvoke(
  value: unknown,
): { nodeId: string; command: string; params?: unknown } | undefined {
  if (!isObject(value)) return undefined
  const { nodeId, command, params } = value
  // The schema judges the rare ones, and says what was meant by those that it does not know.
  for (const key in value) if (!PLAIN.has(key)) return undefined
  if (!isName(nodeId) || typeof command !== 'string' || !CAPABILITY_PATTERN.test(command)) return undefined
  if (params === undefined) return { nodeId, command }
  return holdsInfinity(params, 0) ? undefined : { nodeId, command, params }
}

const PLAIN: ReadonlySet<string> = new Set(['nodeId', 'command', 'params'])

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
