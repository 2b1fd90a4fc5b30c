import { type AuthLevel, LEVELS } from '../protocol/names.ts'
import type { AddedCommand, Capability, LoosenedCapability, Registration } from '../protocol/schemas.ts'

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
      const freer = rank(authLevel) < rank(before.authLevel)
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
    const from = strictest(approved, command)
    const to = strictest(capabilities, command)
    return from !== undefined && to !== undefined && rank(to) < rank(from)
      ? [{ capability: cap, from, to }]
      : []
  })
  return moved.sort((a, b) => rank(b.from) - rank(a.from)).slice(0, 1)
}

function strictest(capabilities: readonly Capability[], command: string): AuthLevel | undefined {
  const levels = capabilities
    .filter(({ commands }) => commands.includes(command))
    .map((each) => each.authLevel)
  return levels.sort((a, b) => rank(b) - rank(a))[0]
}

function rank(level: AuthLevel): number {
  return LEVELS.indexOf(level)
}
