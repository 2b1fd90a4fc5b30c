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

/** Loads one part after the other, and lets the event loop go round before the first and behind each. */
export async function loadInParts(parts: readonly (() => Promise<unknown>)[]): Promise<void> {
  // To the immediates of this turn, in which others may have come at the same moment, and to those of the next one.
  await nextTurn()
  await nextTurn()
  for (const load of parts) {
    await load()
    await nextTurn()
  }
}

/** A request of the newest revision, as the library tells it from others. */
const NEWEST_HEADERS = {
  'content-type': 'application/json',
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/list',
}
const NEWEST_BODY = {
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/list',
  params: {
    _meta: {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'limb-bridge', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  },
}

/**
 * Has the library make its schemas, which it else does with the first request of each revision of the protocol: 20 to
 * 30 ms each, here in a turn of the event loop of its own.
 */
export async function makeSchemas(sdk: Pick<Library, 'isLegacyRequest' | 'preloadSchemas'>): Promise<void> {
  const newest = () => new Request('http://localhost/mcp', { method: 'POST', headers: NEWEST_HEADERS })
  await loadInParts([() => sdk.isLegacyRequest(newest(), NEWEST_BODY), async () => sdk.preloadSchemas()])
}
