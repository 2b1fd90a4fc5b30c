import type { CommandDescription, Description, PropertyDescription } from '../protocol/descriptions.ts'
import type { Capability } from '../protocol/schemas.ts'
import type { NodeRecord } from './records.ts'

/** Shows what a limb can do: its own description, corrected by an operator's, for the commands that are approved. */

/** Puts the operator's words over the limb's own: key by key, and commands and properties by their names. */
export function mergedDescription(own: Description | null, operator: Description | null): Description {
  if (operator === null) return own ?? {}
  if (own === null) return operator
  const commands = mergedByName<CommandDescription>(own.commands, operator.commands)
  const properties = mergedByName<PropertyDescription>(own.properties, operator.properties)
  return {
    ...own,
    ...operator,
    ...(commands === undefined ? {} : { commands }),
    ...(properties === undefined ? {} : { properties }),
  }
}

function mergedByName<T extends { readonly name: string }>(
  own: readonly T[] | undefined,
  operator: readonly T[] | undefined,
): T[] | undefined {
  if (own === undefined && operator === undefined) return undefined
  const all = new Map((own ?? []).map((each) => [each.name, each]))
  for (const each of operator ?? []) all.set(each.name, { ...all.get(each.name), ...each })
  return [...all.values()]
}

/** Returns what is known of a command of the limb, approved or not. */
export function describedCommand(node: NodeRecord, name: string): CommandDescription | undefined {
  const { ownDescription, operatorDescription } = node
  const operator = operatorDescription?.commands?.find((each) => each.name === name)
  const own = ownDescription?.commands?.find((each) => each.name === name)
  return own || operator ? { name, ...own, ...operator } : undefined
}

/** Is an approved command with what is known of it. */
export interface ApprovedCommand extends CommandDescription {
  readonly capability: string
}

/** Returns every approved command, in the order of the capabilities, described or not. */
export function approvedCommands(
  capabilities: readonly Capability[],
  description: Description,
): readonly ApprovedCommand[] {
  const known = new Map((description.commands ?? []).map((each) => [each.name, each]))
  return capabilities.flatMap(({ cap, commands }) =>
    commands.map((name) => ({ ...known.get(name), name, capability: cap })),
  )
}
