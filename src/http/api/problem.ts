import type { FastifyReply } from 'fastify'
import { type ErrorBody, type ErrorCode, Refusal } from '../../kernel/errors.ts'

/** Maps each code of the catalogue to the HTTP status that programs expect for it (RFC 9110). */
export const STATUS_OF: Readonly<Record<ErrorCode, number>> = {
  invalid_request: 400,
  unauthorized: 401,
  not_found: 404,
  forbidden: 403,
  conflict: 409,
  node_offline: 503,
  capability_unavailable: 503,
  unknown_command: 404,
  leased: 423,
  denied: 403,
  expired: 410,
  cancelled: 409,
  timeout: 504,
  node_error: 502,
  too_many_requests: 429,
  storage_unavailable: 503,
  internal: 500,
}

/** Is the body of an error, as RFC 9457 wants it; `code`, `path` and `details` are those of the protocol. */
export interface ApiProblem {
  readonly type: 'about:blank'
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly path?: string
  readonly details?: Readonly<Record<string, unknown>>
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  410: 'Gone',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  423: 'Locked',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

/** Returns the problem document of an error; `status` is the code's own unless HTTP itself knows better (405, 413, 415). */
export function problemOf(error: ErrorBody, status: number = STATUS_OF[error.code]): ApiProblem {
  const { code, message, path, details } = error
  return {
    type: 'about:blank',
    title: TITLES[status] ?? 'Error',
    status,
    detail: message,
    code,
    ...(path === undefined ? {} : { path }),
    ...(details === undefined ? {} : { details }),
  }
}

/**
 * Sends the problem and returns the reply. A 429 says when to come back: programs heed `Retry-After`. A 401 names the
 * document about signing in, where there is one (RFC 9728).
 */
export function sendProblem(
  reply: FastifyReply,
  error: ErrorBody | Refusal,
  status?: number,
  metadata?: string,
): FastifyReply {
  const problem = problemOf(error instanceof Refusal ? error.body() : error, status)
  if (problem.status === 401) {
    const named = metadata === undefined ? '' : `, resource_metadata="${metadata}"`
    void reply.header(
      'www-authenticate',
      `Bearer realm="limb-bridge"${named}, Basic realm="limb-bridge", charset="UTF-8"`,
    )
  }
  if (problem.status === 429) void reply.header('retry-after', '1')
  return reply
    .code(problem.status)
    .type('application/problem+json')
    .send(Buffer.from(JSON.stringify(problem)))
}
