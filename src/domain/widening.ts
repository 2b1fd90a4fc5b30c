import type { AuthLevel } from '../protocol/names.ts'
import type { AddedCommand, Capability, LoosenedCapability, Registration } from '../protocol/schemas.ts'
import { holdersOf, strictest } from './invocations.ts'
import { stricter } from './policy.ts'

/**
 * Lists what a pairing request would add to what is approved: its commands one by one, and the capabilities that
 * would be freer.
 */
export interface Difference {
  readonly adds: AddedCommand[]
  readonly loosens: LoosenedCapability[]
}

/** Compares what a registration asks for with what is approved; of a limb that is new all is added. */
export function differenceOf(
  approved: readonly Capability[],
  { capabilities, described }: Registration,
): Difference {
  const held = new Map(approved.map((entry) => [entry.cap, entry]))
  const known = new Map((described?.commands ?? []).map((each) => [each.name, each]))
  return {
    adds: capabilities.flatMap(({ cap, commands }) =>
      commands
        .filter((command) => held.get(cap)?.commands.includes(command) !== true)
        .map((name) => {
          const { title, description } = known.get(name) ?? {}
          if (title === undefined && description === undefined) return name
          return { name, ...(title && { title }), ...(description && { description }) }
        }),
    ),
    loosens: capabilities.flatMap((entry) => {
      const { cap, authLevel } = entry
      const before = held.get(cap)
      if (before === undefined) return loosenedByMove(approved, capabilities, entry)
      const freer = stricter(before.authLevel, authLevel)
      return freer ? [{ capability: cap, from: before.authLevel, to: authLevel }] : []
    }),
  }
}

/** A command that is approved in one capability would be freer in another: the strictest of its capabilities decides. */
function loosenedByMove(
  approved: readonly Capability[],
  capabilities: readonly Capability[],
  { cap, commands }: Capability,
): LoosenedCapability[] {
  const moved = commands.flatMap((command) => {
    const from = levelOf(approved, command)
    const to = levelOf(capabilities, command)
    return from !== undefined && to !== undefined && stricter(from, to) ? [{ level: from, to }] : []
  })
  const most = strictest(moved)
  return most === undefined ? [] : [{ capability: cap, from: most.level, to: most.to }]
}

function levelOf(capabilities: readonly Capability[], command: string): AuthLevel | undefined {
  const holders = holdersOf(capabilities, command, undefined)
  return strictest(holders.map(({ authLevel }) => ({ level: authLevel })))?.level
}
