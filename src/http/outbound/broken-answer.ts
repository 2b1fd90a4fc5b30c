import type { IncomingMessage } from 'node:http'
import { TOO_MUCH } from './answer-reading.ts'
import { codeOf } from './failure.ts'

/** Says what a limb that was reached did instead of answering, and what to do about it, as a part of a sentence. */

export interface Begun {
  readonly response: IncomingMessage
  /** The bytes of the body that came. */
  readonly bytes: number
}

export const MAX_HEADER_BYTES = 16_384

const LENGTHS = new Set(['HPE_INVALID_CONTENT_LENGTH', 'HPE_UNEXPECTED_CONTENT_LENGTH'])
const NO_CLIENT_CERTIFICATE = 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'
const CLOSED = new Set(['', 'ECONNRESET', 'EPIPE'])
const FAILED = '; its program may have failed, and its own log should say why'
/** The first bytes of a TLS record that holds an alert: what is told to whoever does not speak TLS. */
const TLS_ALERT = Buffer.from([0x15, 3])

export function brokenAnswer(host: string, error: unknown, begun: Begun | undefined): string {
  const code = codeOf(error)
  if (code === TOO_MUCH)
    return `sent more than an answer has: many interim answers, or a body of many small chunks${FAILED}`
  if (code.startsWith('HPE_')) return notHttp(host, error, code, begun)
  if (code === NO_CLIENT_CERTIFICATE)
    return `wants a client certificate, which the bridge has none of; it must check the signature instead (${code})`
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) return `broke the TLS connection${FAILED} (${code})`
  if (!CLOSED.has(code)) return `was cut off during the invocation; look after its network (${code})`
  return begun ? closedWithin(begun) : `closed the connection without a whole answer${FAILED}`
}

/** Says what the parser of HTTP stumbled over. */
function notHttp(host: string, error: unknown, code: string, begun: Begun | undefined): string {
  if (begun?.response.complete) {
    const length = begun.response.headers['content-length']
    const end = length === undefined ? 'the end of it' : `the ${length} bytes of its Content-Length`
    return `answered with more than ${end}; that must be the number of bytes, not of characters (${code})`
  }
  if (code === 'HPE_HEADER_OVERFLOW')
    return `answered with more than ${MAX_HEADER_BYTES} bytes of headers; its program must send fewer (${code})`
  if (LENGTHS.has(code))
    return `answered with a wrong Content-Length; its program must send one, the number of bytes of the body (${code})`
  const { rawPacket } = error as { rawPacket?: unknown }
  if (!begun && Buffer.isBuffer(rawPacket) && rawPacket.subarray(0, 2).equals(TLS_ALERT))
    return `answered in TLS to plain HTTP at ${host}; it must register an https:// endpointUrl, or serve http there (${code})`
  return `answered with what is not HTTP at ${host}; its program must serve HTTP/1.1 there, or register the endpointUrl where it does (${code})`
}

function closedWithin({ response, bytes }: Begun): string {
  const length = response.headers['content-length']
  const of =
    length === undefined
      ? `${bytes} bytes of an answer without an end`
      : `${bytes} of the ${length} bytes that its Content-Length announced`
  return `closed the connection after ${of}${FAILED}`
}
