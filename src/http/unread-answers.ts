import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Identity } from '../bridge/ports.ts'
import type { StrangersUnreadBytes, UnreadBytes } from './held-bytes.ts'
import { onceOver } from './once-over.ts'

/** The bytes that a request costs until its answer was read, beside those of the answer: objects, headers, a place in a queue. */
const REQUEST_BYTES = 8192

type SignedIn = (request: IncomingMessage) => void

/** Makes room for who has signed in, on requests of all routes. `signedIn` is told of principals and limbs. */
export function decorateIdentity(app: FastifyInstance, signedIn: SignedIn): void {
  app.decorateRequest('identity', null)
  app.decorate('signedIn', signedIn)
}

/** Keeps who has signed in. A candidate has shown nothing that an operator knows. */
export function rememberIdentity(request: FastifyRequest, identity: Identity): void {
  request.setDecorator('identity', identity)
  if (identity.kind !== 'candidate') request.server.getDecorator<SignedIn>('signedIn')(request.raw)
}

/** Returns the name of the principal, or of the limb, that has signed in; empty when nobody has. */
export function principalOf(request: FastifyRequest): string {
  const identity = request.getDecorator<Identity | null>('identity')
  if (identity?.kind === 'limb') return `the limb ${identity.nodeId}`
  return identity?.kind === 'principal' ? identity.name : ''
}

/** Counts every answer that is sent in one piece until its client has read it. */
export function boundAnswers(
  app: FastifyInstance,
  unread: UnreadBytes,
  ofStrangers: StrangersUnreadBytes,
): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const principal = principalOf(request)
    const bytes = REQUEST_BYTES + ownBytes(request, payload, principal !== '')
    const end = () => request.raw.socket.destroy()
    if (principal === '') {
      const { raw } = reply
      const isUnread = () => raw.writableEnded && raw.writableLength > 0
      onceOver(request, reply, ofStrangers.enter({ bytes, isUnread, end }))
      return
    }
    const place = unread.enter({ principal, measure: () => bytes, end })
    onceOver(request, reply, () => place.leave())
    place.changed()
  })
}

/** Returns the bytes that are this client's alone. Files that everybody may read are the same for all, unless each has them encrypted. */
function ownBytes({ raw }: FastifyRequest, payload: unknown, signedIn: boolean): number {
  if (typeof payload === 'string') return payload.length
  return Buffer.isBuffer(payload) && (signedIn || 'encrypted' in raw.socket) ? payload.length : 0
}
