import { problemInValue } from '../../domain/value-schema.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { CommandDescription } from '../../protocol/descriptions.ts'
import type { InvocationWish } from './open-invocation.ts'

/**
 * Checks the params of a command with the schema that its limb, or an operator, gave for it, before anything is leased,
 * asked or sent. A command without one takes any params. @throws Refusal `invalid_request` with the path.
 */
export function checkParams(
  { command, params, unchecked }: InvocationWish,
  nodeId: string,
  input: CommandDescription['input'],
): void {
  if (unchecked || input === undefined) return
  const problem = problemInValue({ type: 'object', ...input }, params ?? {}, 'params')
  if (problem === undefined) return
  const text = `${problem.path}: ${problem.message}; \`node get ${nodeId}\` shows what ${command} takes`
  throw new Refusal('invalid_request', text, problem.path)
}
