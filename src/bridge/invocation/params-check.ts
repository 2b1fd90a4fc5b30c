import { describedCommand } from '../../domain/descriptions.ts'
import type { NodeRecord } from '../../domain/records.ts'
import { problemInValue } from '../../domain/value-schema.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { CommandDescription } from '../../protocol/descriptions.ts'
import type { InvocationWish } from './open-invocation.ts'

/**
 * Checks the params of a command with the schema that its limb, or an operator, gave for it, before anything is leased,
 * asked or sent, and before it matters whether the limb is there. A command without one takes any params. Returns what
 * is known of the command. @throws Refusal `invalid_request` with the path.
 */
export function checkParams(
  node: NodeRecord,
  { command, params, unchecked }: Pick<InvocationWish, 'command' | 'params' | 'unchecked'>,
): CommandDescription | undefined {
  const described = describedCommand(node, command)
  if (unchecked || described?.input === undefined) return described
  const problem = problemInValue({ type: 'object', ...described.input }, params() ?? {}, 'params')
  if (problem === undefined) return described
  const text = `${problem.path}: ${problem.message}; \`node get ${node.nodeId}\` shows what ${command} takes`
  // Names of parameters, their choices and units are words of the device: who shows them to a model finds them apart.
  throw new Refusal('invalid_request', text, problem.path, { deviceText: { ...problem } })
}
