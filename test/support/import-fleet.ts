import { LIMITS } from '../../src/protocol/limits.ts'

/** Imports limbs, however many, in requests that each take as many as one may. */
export async function importFleet(
  ask: (verb: 'node/import', args: { readonly nodes: readonly object[] }) => Promise<unknown>,
  nodes: readonly object[],
): Promise<void> {
  for (let from = 0; from < nodes.length; from += LIMITS.importNodes)
    await ask('node/import', { nodes: nodes.slice(from, from + LIMITS.importNodes) })
}
