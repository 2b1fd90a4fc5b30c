import { setImmediate as nextTurn } from 'node:timers/promises'

export type Library = typeof import('@modelcontextprotocol/server')

/** The parts that the library is made of and that can be loaded alone, and the library: each takes some 20 to 30 ms. */
const PARTS: readonly (() => Promise<unknown>)[] = [
  () => import('@modelcontextprotocol/core/internal'),
  () => import('@modelcontextprotocol/server/validators/ajv'),
  () => import('@modelcontextprotocol/server'),
]

let loading: Promise<Library> | undefined

/**
 * Loads the library, with its first use: whoever needs no MCP server does not pay for it. It comes in parts, each in a
 * turn of the event loop of its own, because as a whole it would keep a service from everything else for a tenth of a second.
 */
export function loadLibrary(): Promise<Library> {
  loading ??= loadInParts(PARTS).then(() => import('@modelcontextprotocol/server'))
  return loading
}

/** Loads one part after the other, and lets the event loop go round behind each. */
export async function loadInParts(parts: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const load of parts) {
    await load()
    await nextTurn()
  }
}
