import { type ClientRequest, type IncomingMessage, request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { PacketTurns } from '../packet-turns.ts'
import { readInTurns } from './answer-reading.ts'
import { MAX_HEADER_BYTES } from './broken-answer.ts'
import { encrypted } from './channel.ts'

export interface JsonRequest {
  readonly url: URL
  /** The certificates that are believed; undefined when the connection has no TLS. */
  readonly context: SecureContext | undefined
  /** `POST` when absent. */
  readonly method?: 'GET' | undefined
  /** Empty when it is a `GET`. */
  readonly body: Uint8Array
  /** The headers beside those of every request. */
  readonly headers: Readonly<Record<string, string>>
  /** Called when the request goes out: from then on the server may have it. */
  readonly sending: () => void
  readonly answered: (response: IncomingMessage) => void
  readonly failed: (error: unknown) => void
  /** Called last in any case. */
  readonly closed: () => void
  /** The turns of all answers that are read. */
  readonly turns: PacketTurns
}

/**
 * Sends JSON, or asks for it, over a connection of its own: a kept one could be to an address that is not allowed any
 * more.
 */
export function sendJson(
  connected: Socket,
  { url, context, method, body, headers, turns, ...then }: JsonRequest,
): ClientRequest {
  const channel = context ? encrypted(url, connected, context) : connected
  if (context) channel.once('secureConnect', then.sending)
  else then.sending()
  const request = (context ? tlsRequest : plainRequest)(url, {
    method: method ?? 'POST',
    createConnection: () => channel,
    maxHeaderSize: MAX_HEADER_BYTES,
    headers: {
      ...(method === 'GET'
        ? { accept: 'application/json' }
        : { 'content-type': 'application/json', 'content-length': body.length }),
      'accept-encoding': 'identity',
      'user-agent': 'limb-bridge',
      ...headers,
    },
  })
  readInTurns(request, turns, then.failed)
  request.once('response', then.answered)
  request.once('upgrade', (response, upgraded) => {
    upgraded.destroy()
    then.answered(response)
  })
  request.on('error', then.failed)
  request.once('close', then.closed)
  request.end(body)
  return request
}
