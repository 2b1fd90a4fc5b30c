import { LEVELS } from '../protocol/names.ts'
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
    loosens: capabilities.flatMap(({ cap, authLevel }) => {
      const from = held.get(cap)?.authLevel
      const freer = from !== undefined && LEVELS.indexOf(authLevel) < LEVELS.indexOf(from)
      return freer ? [{ capability: cap, from, to: authLevel }] : []
    }),
  }
}
