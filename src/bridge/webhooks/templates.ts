import { encodeJson } from '../../protocol/encode.ts'
import type { WebhookFormat } from '../../protocol/webhooks.ts'

/** The forms in which services take a message. Each has its own escapes for what devices wrote. */

/** An event as it is stored: enough for every format, also after a restart with another one. */
export interface WebhookMessage {
  readonly type: string
  /** The time at which it happened, ISO 8601. */
  readonly timestamp: string
  readonly data: unknown
  readonly notice: { readonly title: string; readonly lines: readonly string[]; readonly urgent: boolean }
  readonly link?: string | undefined
}

/** The receiver, as the configuration says it. */
export interface Receiver {
  readonly url: string
  readonly token: string | undefined
  readonly chat: string | undefined
}

export interface TemplatedRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

const OPEN = 'Open the console'
/** The longest text: ntfy makes a file of more than 4096 bytes; Telegram refuses more than 4096 characters. */
const MAX_TEXT_CHARS = 3000

const bearer = (token: string | undefined): Record<string, string> =>
  token === undefined ? {} : { authorization: `Bearer ${token}` }

function textOf({ notice }: WebhookMessage): string {
  return [...notice.lines.join('\n')].slice(0, MAX_TEXT_CHARS).join('')
}

/** The payload of Standard Webhooks: type, timestamp and data. */
function standard({ type, timestamp, data, link }: WebhookMessage, { url, token }: Receiver) {
  return { url, headers: bearer(token), body: encodeJson({ type, timestamp, data, link }) }
}

/** JSON to the root of the server, so that no text of a device gets into a header; plain text, no Markdown. */
function ntfy(message: WebhookMessage, { url, token }: Receiver) {
  const target = new URL(url)
  const levels = target.pathname.replace(/\/+$/, '').split('/')
  const topic = decodeURIComponent(levels.pop() ?? '')
  target.pathname = `${levels.join('/')}/`
  const { notice, link } = message
  const body = {
    topic,
    title: notice.title,
    message: textOf(message) || notice.title,
    priority: notice.urgent ? 4 : 3,
    ...(link === undefined ? {} : { click: link, actions: [{ action: 'view', label: OPEN, url: link }] }),
  }
  return { url: target.href, headers: bearer(token), body: encodeJson(body) }
}

const SLACK: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }
const slackText = (text: string) => text.replaceAll(/[&<>]/g, (char) => SLACK[char] ?? char)

/** Blocks of plain text, in which nothing is a link, a mention or a format; the escapes are for the notification. */
function slack(message: WebhookMessage, { url, token }: Receiver) {
  const { notice, link } = message
  const plainText = (text: string) => ({ type: 'plain_text', text, emoji: false })
  const text = textOf(message)
  const body = {
    text: slackText(text === '' ? notice.title : `${notice.title}: ${text}`),
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      { type: 'header', text: plainText(notice.title.slice(0, 150)) },
      ...(text === '' ? [] : [{ type: 'section', text: plainText(text) }]),
      ...(link === undefined
        ? []
        : [
            {
              type: 'section',
              text: { type: 'mrkdwn', text: `<${slackText(link).replaceAll('|', '%7C')}|${OPEN}>` },
            },
          ]),
    ],
  }
  return { url, headers: bearer(token), body: encodeJson(body) }
}

const HTML: Readonly<Record<string, string>> = { ...SLACK, '"': '&quot;' }
const html = (text: string) => text.replaceAll(/[&<>"]/g, (char) => HTML[char] ?? char)

/** Makes HTML in which everything that a device wrote stands in `pre`, in which Telegram finds no links, mentions and commands. */
function telegram(message: WebhookMessage, { url, token, chat }: Receiver) {
  const { notice, link } = message
  const text = textOf(message)
  const parts = [
    `<b>${html(notice.title)}</b>`,
    ...(text === '' ? [] : [`<pre>${html(text)}</pre>`]),
    ...(link === undefined ? [] : [`<a href="${html(link)}">${OPEN}</a>`]),
  ]
  const target =
    token === undefined ? url : `${url.replace(/\/+$/, '')}/bot${encodeURIComponent(token)}/sendMessage`
  const body = {
    chat_id: chat,
    text: parts.join('\n'),
    parse_mode: 'HTML',
    link_preview_options: { is_disabled: true },
    disable_notification: false,
  }
  // A token has a colon in it, which a path may have too.
  return { url: target.replace('%3A', ':'), headers: {}, body: encodeJson(body) }
}

const TEMPLATES: Readonly<
  Record<WebhookFormat, (message: WebhookMessage, to: Receiver) => TemplatedRequest>
> = { standard, ntfy, slack, telegram }

export function requestOf(format: WebhookFormat, message: WebhookMessage, to: Receiver): TemplatedRequest {
  return TEMPLATES[format](message, to)
}
