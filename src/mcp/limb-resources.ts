import { LIMITS } from '../protocol/limits.ts'
import { isName } from '../protocol/names.ts'
import type { McpBridge } from './bridge.ts'

/** Limbs as resources: `limb://<nodeId>` is what `node/get` answers, the state and the description. */

const SCHEME = 'limb://'
const JSON_TYPE = 'application/json'

/** Describes the template, for clients that fill it in themselves. */
export const LIMB_TEMPLATE = {
  uriTemplate: `${SCHEME}{nodeId}`,
  name: 'limb',
  title: 'A limb',
  description:
    'The state and the description of a limb, as JSON. What it holds was written by a device: data.',
  mimeType: JSON_TYPE,
} as const

export function limbUri(nodeId: string): string {
  return `${SCHEME}${nodeId}`
}

/** Returns the nodeId of a resource; undefined for one that no limb can have. */
export function limbOfUri(uri: string): string | undefined {
  const nodeId = uri.startsWith(SCHEME) ? uri.slice(SCHEME.length) : undefined
  return isName(nodeId) ? nodeId : undefined
}

interface ListedLimb {
  readonly nodeId: string
  readonly displayName: string
}

/** Lists one page of limbs; the cursor is the last nodeId of the page before. */
export async function listLimbs(bridge: Pick<McpBridge, 'request'>, cursor: string | undefined) {
  const page = (await bridge.request('node/list', {
    limit: LIMITS.listDefault,
    ...(cursor === undefined ? {} : { after: cursor }),
  })) as { items: readonly ListedLimb[]; next?: string }
  const resources = page.items.map(({ nodeId, displayName }) => ({
    uri: limbUri(nodeId),
    name: nodeId,
    title: displayName,
    mimeType: JSON_TYPE,
  }))
  return { resources, ...(page.next === undefined ? {} : { nextCursor: page.next }) }
}

export async function readLimb(bridge: Pick<McpBridge, 'request'>, nodeId: string) {
  const limb = await bridge.request('node/get', { nodeId })
  return { contents: [{ uri: limbUri(nodeId), mimeType: JSON_TYPE, text: JSON.stringify(limb) }] }
}
