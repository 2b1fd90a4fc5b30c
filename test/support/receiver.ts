import { createHmac } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Loose } from './client.ts'

export interface Received {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly text: string
  readonly json: Loose
}

/** A server that takes webhooks: it answers as `status` says, or not while `silent`, and keeps what it was sent. */
export async function receiver(port = 0) {
  const taken: Received[] = []
  const waiting: (() => void)[] = []
  const state = { status: 200, headers: {} as Record<string, string>, silent: false }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString()
      taken.push({ path: request.url ?? '', headers: request.headers, text, json: JSON.parse(text) })
      if (!state.silent) response.writeHead(state.status, state.headers).end('{"error":"not now"}')
      for (const wake of waiting.splice(0)) wake()
    })
  })
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done))
  return {
    taken,
    state,
    port: (server.address() as AddressInfo).port,
    /** The request at this place, when it has come. */
    async nth(index: number): Promise<Received> {
      while (taken[index] === undefined) await new Promise<void>((done) => waiting.push(done))
      return taken[index]
    },
    close: () => {
      server.closeAllConnections()
      return new Promise((done) => server.close(done))
    },
  }
}

/** The signature as the page of Standard Webhooks describes it. */
export function signatureOf(secret: string, { headers, text }: Received): string {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`
  return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`
}
