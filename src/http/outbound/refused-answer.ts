import type { IncomingMessage } from 'node:http'
import type { Clock } from '../../kernel/clock.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import { Gathered } from './gathered.ts'

/** Reads what a limb says in the body of an answer whose status is an error: the reason that people look for. */

const MAX_BYTES = 8192
const MAX_CHARS = 500
/** The status is known already; a body that does not end holds up nobody. */
const MAX_MS = 1000

/** Reads as much of the body as is looked at, and gives the reason in it, else an empty text. */
export function readReason(response: IncomingMessage, clock: Clock, done: (reason: string) => void): void {
  const body = new Gathered()
  let over = false
  const end = () => {
    if (over) return
    over = true
    cancel()
    done(reasonIn(response, body.bytes().subarray(0, MAX_BYTES)))
  }
  const cancel = clock.after(MAX_MS, end)
  response.on('data', (chunk: Buffer) => {
    if (over) return
    body.push(chunk)
    if (body.length >= MAX_BYTES) end()
  })
  response.on('error', end)
  response.once('close', end)
  response.once('end', end)
}

function reasonIn({ headers }: IncomingMessage, body: Buffer): string {
  // A page for a browser, or what is packed, tells nothing in one line.
  if ((headers['content-encoding'] ?? 'identity') !== 'identity') return ''
  if (/html/i.test(headers['content-type'] ?? '')) return ''
  const text = decoded(headers['content-type'] ?? '', body).trim()
  const reason = (reasonOfJson(text) ?? text).replaceAll(/\s+/g, ' ').trim()
  return escapeText([...reason].slice(0, MAX_CHARS).join(''))
}

/** A small device may write what its maker's machine does. */
function decoded(contentType: string, body: Buffer): string {
  const charset = /charset="?([\w-]{1,40})/i.exec(contentType)?.[1] ?? 'utf-8'
  try {
    return new TextDecoder(charset).decode(body)
  } catch {
    return body.toString()
  }
}

/** The text of a result's `error`, or what programs of the web call it. */
function reasonOfJson(text: string): string | undefined {
  try {
    return firstText(JSON.parse(text))
  } catch {
    return undefined
  }
}

function firstText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null) return undefined
  const { error, message, detail } = value as Record<string, unknown>
  return [error, message, detail].map(textOf).find((each) => each !== '')
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value.trim()
  if (typeof value !== 'object' || value === null) return ''
  const { message } = value as Record<string, unknown>
  return typeof message === 'string' ? message.trim() : ''
}
