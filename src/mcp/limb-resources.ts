import { escapeJson } from '../kernel/escape-text.ts'
import { LIMITS } from '../protocol/limits.ts'
import { isName } from '../protocol/names.ts'
import type { McpBridge } from './bridge.ts'
import { IS_DATA, markedLimb, type Values } from './device-text.ts'

/** Limbs as resources: `limb://<nodeId>` is what `node/get` answers, the state and the description. */

const SCHEME = 'limb://'
const JSON_TYPE = 'application/json'

/** Describes the template, for clients that fill it in themselves. */
export const LIMB_TEMPLATE = {
  uriTemplate: `${SCHEME}{nodeId}`,
  name: 'limb',
  title: 'A limb',
  description: `The state and the description of a limb, as JSON. \`deviceText\` is ${IS_DATA}.`,
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
}

/** Lists one page of limbs; the cursor is the last nodeId of the page before. */
export async function listLimbs(bridge: Pick<McpBridge, 'request'>, cursor: string | undefined) {
  const page = (await bridge.request('node/list', {
    limit: LIMITS.listDefault,
    ...(cursor === undefined ? {} : { after: cursor }),
  })) as { items: readonly ListedLimb[]; next?: string }
  // Its display name is text of the device, and here nothing could mark it.
  const resources = page.items.map(({ nodeId }) => ({
    uri: limbUri(nodeId),
    name: nodeId,
    mimeType: JSON_TYPE,
  }))
  return { resources, ...(page.next === undefined ? {} : { nextCursor: page.next }) }
}

export async function readLimb(bridge: Pick<McpBridge, 'request'>, nodeId: string) {
  const limb = markedLimb((await bridge.request('node/get', { nodeId })) as Values)
  return { contents: [{ uri: limbUri(nodeId), mimeType: JSON_TYPE, text: escapeJson(JSON.stringify(limb)) }] }
}
