import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../bridge/ports.ts'
import { type ErrorCode, Refusal } from '../kernel/errors.ts'
import type { LogThrottle } from '../kernel/log-throttle.ts'
import { sendProblem } from './api/problem.ts'

/** Answers requests that no route takes and requests that fail: below `/api/` as a problem (RFC 9457). */

const METHODS = ['GET', 'POST', 'DELETE'] as const
const THERE_IS =
  'not found; there are the console at /, /healthz, /readyz, /metrics, the API below /api/v1/, MCP at /mcp, and MQTT over WebSocket at /mqtt'

type Failure = Error & { readonly statusCode?: number }

export function failures(app: FastifyInstance, log: Log, throttle: LogThrottle): void {
  app.setNotFoundHandler(async (request, reply) => {
    const allowed = METHODS.filter((method) => app.hasRoute({ method, url: pathOf(request) }))
    if (allowed.length === 0) return answer(request, reply, 404, 'not_found', THERE_IS)
    const allow = allowed.join(', ')
    return answer(request, reply.header('allow', allow), 405, 'invalid_request', `ask with ${allow}`)
  })
  app.setErrorHandler(async (error: Failure, request, reply) => {
    const status = error.statusCode ?? 500
    if (status < 500) return answer(request, reply, status, 'invalid_request', error.message)
    throttle.write('failed', (suppressed) => log.error({ err: error, suppressed }, 'http: a request failed'))
    return answer(request, reply, status, 'internal', 'the bridge failed; its log says why')
  })
}

/** Answers what is wrong before a route is looked for, such as an address with a broken `%`. */
export function frameworkErrors(error: Failure, request: FastifyRequest, reply: FastifyReply): void {
  const text = 'the address of the request is not valid'
  answer(request, reply, error.statusCode ?? 400, 'invalid_request', text)
}

function pathOf({ url }: FastifyRequest): string {
  return url.split('?', 1)[0] ?? ''
}

function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  code: ErrorCode,
  text: string,
): FastifyReply {
  if (request.url.startsWith('/api/')) return sendProblem(reply, new Refusal(code, text), status)
  return reply
    .code(status)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ error: text }))
}
