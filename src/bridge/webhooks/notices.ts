import { escapeText } from '../../kernel/escape-text.ts'
import type { PairingRequestKind } from '../../protocol/schemas.ts'
import type { WebhookFields, WebhookKind, WebhookLimbs } from '../../protocol/webhooks.ts'

/**
 * An event as a few words for a phone. The title is the bridge's own, fixed for each kind; what devices and principals
 * wrote stands in the lines alone, in one line each, cut, and with nothing in it that a phone makes a link of.
 */
export interface Notice {
  readonly title: string
  readonly lines: readonly string[]
  /** The page of the console behind its `#`. */
  readonly page: string
  /** A person is waited for. */
  readonly urgent: boolean
}

const MAX_CHARS = 300

/** Text that somebody else wrote: one line of what can be read, and no address that can be tapped. */
export function foreignText(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  const cut = [...escapeText(text)]
  const shown = cut.length > MAX_CHARS ? `${cut.slice(0, MAX_CHARS).join('')}…` : cut.join('')
  return shown.replaceAll('://', '[:]//').replaceAll(/(?<=[\p{L}\p{N}_-])\.(?=\p{L})/gu, '[.]')
}

type Lines = Pick<Notice, 'title' | 'lines' | 'page'>
type Noticed = { readonly [K in WebhookKind]?: (fields: WebhookFields<K>) => Lines }

const limbPage = (nodeId: string) => `/limb/${encodeURIComponent(nodeId)}`

function minutesText(seconds: number): string {
  if (seconds < 120) return `${seconds} seconds`
  if (seconds < 7200) return `${Math.round(seconds / 60)} minutes`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} hours` : `${Math.round(seconds / 86_400)} days`
}

function limbsLines({ count, limbs }: WebhookLimbs): string[] {
  const named = limbs.map(({ nodeId, displayName }) =>
    displayName === nodeId ? foreignText(nodeId) : `${foreignText(displayName)} (${foreignText(nodeId)})`,
  )
  return count > limbs.length ? [...named, `and ${count - limbs.length} more`] : named
}

function limbsPage({ count, limbs }: WebhookLimbs): string {
  const [first] = limbs
  return count === 1 && first !== undefined ? limbPage(first.nodeId) : '/limbs'
}

const ASKED: Readonly<Record<PairingRequestKind, string>> = {
  new: 'A new limb wants to be paired',
  replace: 'A limb asks for its place with another key',
  widen: 'A limb asks for more than was approved',
}

/** The events with words of their own; any other is told by its name and fields. */
const NOTICED: Noticed = {
  invocation_waiting: ({ approval: { principal, nodeId, command, params, paramsStart } }) => ({
    title: 'An invocation waits for your approval',
    lines: [
      `${foreignText(principal)} wants ${foreignText(command)} on ${foreignText(nodeId)}`,
      ...(params === undefined && paramsStart === undefined
        ? []
        : [`with ${foreignText(paramsStart ?? params)}`]),
    ],
    page: '/approvals',
  }),
  pairing_requested: ({ request: { nodeId, displayName, address, conflict, kind } }) => ({
    title: ASKED[kind],
    lines: [
      `${foreignText(displayName)} (${foreignText(nodeId)}) from ${foreignText(address)}`,
      ...(conflict ? ['Another device asks for the same name.'] : []),
    ],
    page: '/pairing',
  }),
  limb_offline: (fields) => ({
    title:
      fields.count === 1
        ? `A limb has been offline for ${minutesText(fields.offlineSeconds)}`
        : `${fields.count} limbs have been offline for ${minutesText(fields.offlineSeconds)}`,
    lines: limbsLines(fields),
    page: limbsPage(fields),
  }),
  limb_back: (fields) => ({
    title: fields.count === 1 ? 'A limb is back' : `${fields.count} limbs are back`,
    lines: limbsLines(fields),
    page: limbsPage(fields),
  }),
  backup_failed: ({ error }) => ({
    title: 'A backup failed',
    lines: [foreignText(error)],
    page: '/system',
  }),
  sign_in_refused: ({ name, address, reason }) => ({
    title: 'A sign-in was refused',
    lines: [`${foreignText(name)} from ${foreignText(address)}: ${foreignText(reason)}`],
    page: '/today',
  }),
  webhook_test: ({ by }) => ({
    title: 'A test of this webhook',
    lines: [`${foreignText(by)} sent it.`],
    page: '/system',
  }),
}

/** Describes any event. */
export function noticeOf<K extends WebhookKind>(kind: K, fields: WebhookFields<K>): Notice {
  const words = NOTICED[kind] as ((fields: WebhookFields<K>) => Lines) | undefined
  const urgent = kind === 'invocation_waiting'
  if (words) return { ...words(fields), urgent }
  const lines = Object.entries(fields).map(([key, value]) => `${key}: ${foreignText(value)}`)
  const { nodeId } = fields as { nodeId?: unknown }
  const page = typeof nodeId === 'string' && nodeId !== '*' ? limbPage(nodeId) : '/today'
  return { title: kind.replaceAll('_', ' '), lines, page, urgent }
}

/** The link to a page of the console; undefined when nobody said where it is. */
export function linkTo(publicUrl: string | null, page: string): string | undefined {
  return publicUrl === null ? undefined : `${publicUrl.replace(/\/+$/, '')}/#${page}`
}
