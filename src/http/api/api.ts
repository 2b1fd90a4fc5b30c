import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { peerAddress } from '../address.ts'
import { originAllowed } from '../origins.ts'
import { eventRoutes } from './events.ts'
import { limbRoutes } from './limbs.ts'
import { openApi } from './openapi.ts'
import type { ApiPorts } from './ports.ts'
import { sendProblem } from './problem.ts'
import { parseAuthorization } from './sign-in.ts'
import { verbRoutes } from './verbs.ts'

export interface ApiOptions {
  readonly ports: ApiPorts
  readonly clock: Clock
  /** The largest body of a verb's request, as on MQTT. */
  readonly maxBodyBytes: number
  /** Web pages that may ask; read at each request, so that a reload counts. */
  readonly allowedOrigins: () => readonly string[]
}

/** Adds the HTTP API below `/api/`: one view of the table of verbs, with the rights, limits and errors of MQTT. */
export async function registerApi(app: FastifyInstance, options: ApiOptions): Promise<void> {
  const { ports, clock } = options
  await app.register(async (api) => {
    common(api, options)
    limbRoutes(api, ports, clock)
    api.get('/api/v1/openapi.json', async (_request, reply) =>
      reply.type('application/json; charset=utf-8').send(openApi(ports.version)),
    )
    await api.register(async (signedIn) => {
      signedIn.decorateRequest('identity', null)
      // Before the body is read: whoever may not ask sends none.
      signedIn.addHook('onRequest', async (request, reply) => signIn(request, reply, ports))
      verbRoutes(signedIn, ports)
      eventRoutes(signedIn, ports, clock)
    })
  })
}

function common(api: FastifyInstance, { maxBodyBytes, allowedOrigins }: ApiOptions): void {
  api.removeAllContentTypeParsers()
  api.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: maxBodyBytes },
    (_request, body, done) => done(null, body),
  )
  api.addHook('onRequest', async (request, reply) => crossOrigin(request, reply, allowedOrigins()))
  api.options('/api/*', async (_request, reply) => reply.code(204).send())
  api.setErrorHandler(async (error: Error & { statusCode?: number }, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) throw error
    const text = status === 415 ? 'send the body as application/json' : error.message
    return sendProblem(reply, new Refusal('invalid_request', text), status)
  })
}

/** A page of another origin is refused whatever it knows: a browser may send a password that it remembers. */
function crossOrigin(
  { method, headers }: FastifyRequest,
  reply: FastifyReply,
  allowed: readonly string[],
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
  if (method === 'OPTIONS') {
    void reply
      .header('access-control-allow-methods', 'GET, POST')
      .header('access-control-allow-headers', 'authorization, content-type, last-event-id')
      .header('access-control-max-age', '600')
  }
  return undefined
}

async function signIn(
  request: FastifyRequest,
  reply: FastifyReply,
  ports: ApiPorts,
): Promise<FastifyReply | undefined> {
  const authorization = parseAuthorization(request.headers.authorization)
  if (authorization === undefined || authorization.name === '') {
    const text =
      'sign in: `Authorization: Bearer <token>`, or HTTP Basic with the name and password of a principal'
    return sendProblem(reply, new Refusal('unauthorized', text))
  }
  const admission = await ports.admit({
    clientId: 'http',
    username: authorization.name,
    password: authorization.secret,
    address: peerAddress(request),
    local: false,
    certificateName: undefined,
    isGone: () => request.raw.socket.destroyed,
  })
  if (!admission.admitted) {
    const busy = admission.code === 3
    return sendProblem(reply, new Refusal(busy ? 'too_many_requests' : 'unauthorized', admission.reason))
  }
  if (admission.identity.kind !== 'principal') {
    return sendProblem(reply, new Refusal('unauthorized', 'no such principal, or no such token'))
  }
  request.setDecorator('identity', admission.identity)
  return undefined
}
