import type { Capability } from '../protocol/schemas.ts'
import { stricter } from './policy.ts'

/**
 * A person approved what a limb may offer. A limb can give up abilities by itself, at once; it can never gain one:
 * more commands, a new capability or a looser level wait for an operator.
 */

export interface CapabilityChange {
  /**
   * The capabilities that hold from now on: of the approved ones, those that the limb still offers. Never more than
   * before.
   */
  readonly effective: readonly Capability[]
  /** Shows whether the limb asks for more than is approved. */
  readonly widens: boolean
}

export function compareCapabilities(
  approved: readonly Capability[],
  asked: readonly Capability[],
): CapabilityChange {
  const approvedByName = new Map(approved.map((entry) => [entry.cap, entry]))
  const effective: Capability[] = []
  let widens = false

  for (const wanted of asked) {
    const held = approvedByName.get(wanted.cap)
    if (!held) {
      widens = true
      continue
    }
    const commands = wanted.commands.filter((command) => held.commands.includes(command))
    if (commands.length < wanted.commands.length || stricter(held.authLevel, wanted.authLevel)) widens = true
    effective.push({
      cap: held.cap,
      commands,
      authLevel: stricter(wanted.authLevel, held.authLevel) ? wanted.authLevel : held.authLevel,
    })
  }
  return { effective, widens }
}

/** The same text for the same capabilities, whatever their order. */
export function canonicalCapabilities(list: readonly Capability[]): string {
  const rows = list.map((entry) => [entry.cap, [...entry.commands].sort(), entry.authLevel])
  rows.sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1))
  return JSON.stringify(rows)
}

export function sameCapabilities(a: readonly Capability[], b: readonly Capability[]): boolean {
  return a === b || sameInOrder(a, b) || canonicalCapabilities(a) === canonicalCapabilities(b)
}

/** Most devices say the same in the same order. */
function sameInOrder(a: readonly Capability[], b: readonly Capability[]): boolean {
  return a.length === b.length && a.every((entry, i) => sameCapability(entry, b[i]))
}

function sameCapability(a: Capability, b: Capability | undefined): boolean {
  return (
    a.cap === b?.cap &&
    a.authLevel === b.authLevel &&
    a.commands.length === b.commands.length &&
    a.commands.every((command, i) => command === b.commands[i])
  )
}
