import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { DueAnswers } from '../due-answers.ts'
import type { BodyBytes, UnreadBytes } from '../held-bytes.ts'
import { readWholeBodies } from '../whole-bodies.ts'
import { crossOrigin, signIn } from './access.ts'
import { backupRoutes } from './backups.ts'
import { boundBodies } from './bounded.ts'
import { eventRoutes } from './events.ts'
import { limbRoutes } from './limbs.ts'
import { openApi } from './openapi.ts'
import type { ApiPorts } from './ports.ts'
import { sendProblem } from './problem.ts'
import { verbRoutes } from './verbs.ts'

export interface ApiOptions {
  readonly ports: ApiPorts
  readonly clock: Clock
  /** The largest body of a verb's request, as on MQTT. */
  readonly maxBodyBytes: number
  /** Web pages that may ask; read at each request, so that a reload counts. */
  readonly allowedOrigins: () => readonly string[]
  readonly bodies: BodyBytes
  readonly unread: UnreadBytes
  readonly due: DueAnswers
}

/** Adds the HTTP API below `/api/`: one view of the table of verbs, with the rights, limits and errors of MQTT. */
export async function registerApi(app: FastifyInstance, options: ApiOptions): Promise<void> {
  const { ports, clock, bodies, unread, due, maxBodyBytes } = options
  await app.register(async (api) => {
    common(api, options)
    limbRoutes(api, ports, clock)
    api.get('/api/v1/openapi.json', async (_request, reply) =>
      reply.type('application/json; charset=utf-8').send(await openApi(ports.version)),
    )
    await api.register(async (signedIn) => {
      // Before the body is read: whoever may not ask sends none.
      signedIn.addHook('onRequest', async (request, reply) => signIn(request, reply, ports))
      boundBodies(signedIn, bodies, maxBodyBytes, (reply, text) =>
        sendProblem(reply, new Refusal('too_many_requests', text)),
      )
      backupRoutes(signedIn, ports)
      verbRoutes(signedIn, ports, due)
      eventRoutes(signedIn, ports, clock, unread)
    })
  })
}

/** Refusals of the server in words of ours, which say what to do. */
const TEXTS: Readonly<Record<number, string>> = {
  413: 'the body is larger than a request may be',
  415: 'send the body as application/json',
}

const CROSS_ORIGIN = {
  methods: 'GET, POST',
  headers: 'authorization, content-type, last-event-id',
}

function common(api: FastifyInstance, { maxBodyBytes, allowedOrigins }: ApiOptions): void {
  readWholeBodies(api, maxBodyBytes)
  api.addHook('onRequest', async (request, reply) =>
    crossOrigin(request, reply, allowedOrigins(), CROSS_ORIGIN),
  )
  api.options('/api/*', async (_request, reply) => reply.code(204).send())
  api.setErrorHandler(async (error: Error & { statusCode?: number }, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) throw error
    return sendProblem(reply, new Refusal('invalid_request', TEXTS[status] ?? error.message), status)
  })
}
