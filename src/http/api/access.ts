import type { FastifyReply, FastifyRequest } from 'fastify'
import { Refusal } from '../../kernel/errors.ts'
import { peerAddress } from '../address.ts'
import { originAllowed } from '../origins.ts'
import { rememberIdentity } from '../unread-answers.ts'
import type { ApiPorts } from './ports.ts'
import { sendProblem } from './problem.ts'
import { parseAuthorization } from './sign-in.ts'

/** Lists what a page of an allowed origin may send and see. */
export interface CrossOriginRights {
  readonly methods: string
  readonly headers: string
  readonly exposed?: string
}

/** Refuses a page of another origin, whatever it knows: a browser may send a password that it remembers. */
export function crossOrigin(
  { method, headers }: FastifyRequest,
  reply: FastifyReply,
  allowed: readonly string[],
  rights: CrossOriginRights,
): FastifyReply | undefined {
  const { origin, host } = headers
  if (origin === undefined) return undefined
  if (!originAllowed(origin, host, allowed)) {
    return sendProblem(
      reply,
      new Refusal('forbidden', 'this origin may not ask; add it to http.allowedOrigins'),
    )
  }
  void reply.header('access-control-allow-origin', origin).header('vary', 'origin')
  if (rights.exposed !== undefined) void reply.header('access-control-expose-headers', rights.exposed)
  if (method === 'OPTIONS') {
    void reply
      .header('access-control-allow-methods', rights.methods)
      .header('access-control-allow-headers', rights.headers)
      .header('access-control-max-age', '600')
  }
  return undefined
}

/**
 * Lets a principal in that sends HTTP Basic or a token, and decorates the request with its identity. `metadata` is the
 * address of the document that says how to sign in (RFC 9728).
 */
export async function signIn(
  request: FastifyRequest,
  reply: FastifyReply,
  ports: Pick<ApiPorts, 'admit'>,
  metadata?: string,
): Promise<FastifyReply | undefined> {
  const authorization = parseAuthorization(request.headers.authorization)
  if (authorization === undefined || authorization.name === '') {
    const text =
      'sign in: `Authorization: Bearer <token>`, or HTTP Basic with the name and password of a principal'
    return sendProblem(reply, new Refusal('unauthorized', text), undefined, metadata)
  }
  const admission = await ports.admit({
    clientId: 'http',
    username: authorization.name,
    password: authorization.secret,
    ...(authorization.name === undefined && { isBearer: true as const }),
    address: peerAddress(request),
    local: false,
    certificateName: undefined,
    isGone: () => request.raw.socket.destroyed,
  })
  if (!admission.admitted) {
    const busy = admission.code === 3 ? 'too_many_requests' : 'unauthorized'
    const refusal = new Refusal(admission.unavailable ? 'storage_unavailable' : busy, admission.reason)
    return sendProblem(reply, refusal, undefined, metadata)
  }
  if (admission.identity.kind !== 'principal') {
    const refusal = new Refusal('unauthorized', 'no such principal, or no such token')
    return sendProblem(reply, refusal, undefined, metadata)
  }
  rememberIdentity(request, admission.identity)
  return undefined
}
