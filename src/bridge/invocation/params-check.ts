import { describedCommand } from '../../domain/descriptions.ts'
import type { NodeRecord } from '../../domain/records.ts'
import { problemInValue } from '../../domain/value-schema.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { InvocationWish } from './open-invocation.ts'

/**
 * Checks the params of a command with the schema that its limb, or an operator, gave for it, before anything is leased,
 * asked or sent. A command without one takes any params. @throws Refusal `invalid_request` with the path.
 */
export function checkParams({ command, params, unchecked }: InvocationWish, node: NodeRecord): void {
  const input = unchecked ? undefined : describedCommand(node, command)?.input
  if (input === undefined) return
  const problem = problemInValue({ type: 'object', ...input }, params ?? {}, 'params')
  if (problem === undefined) return
  const text = `${problem.path}: ${problem.message}; \`node get ${node.nodeId}\` shows what ${command} takes`
  throw new Refusal('invalid_request', text, problem.path)
}
