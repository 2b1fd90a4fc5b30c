import type { FastifyInstance } from 'fastify'
import { originAllowed } from '../origins.ts'
import { GUARDS } from './guards.ts'

/** `POST /console/first-start`: the link of a first start sets the password of `admin`. Nothing else here sets one. */

/** `gone`: used, too late, or never made. */
export type FirstPasswordOutcome = 'set' | 'gone' | 'failed'

export type SetFirstPassword = (secret: string, password: string) => Promise<FirstPasswordOutcome>

const STATUS: Readonly<Record<FirstPasswordOutcome, number>> = { set: 204, gone: 410, failed: 503 }
const MIN_CHARS = 8
const MAX_CHARS = 256

export function firstStartRoute(
  app: FastifyInstance,
  setPassword: SetFirstPassword,
  allowedOrigins: () => readonly string[],
): void {
  app.post('/console/first-start', async ({ headers, body }, reply) => {
    void reply.headers(GUARDS)
    if (!originAllowed(headers.origin, headers.host, allowedOrigins())) {
      return reply.code(403).send({ error: 'this origin may not ask; add it to http.allowedOrigins' })
    }
    const { secret, password } = (body ?? {}) as { secret?: unknown; password?: unknown }
    if (typeof secret !== 'string' || typeof password !== 'string') {
      return reply.code(400).send({ error: 'send {"secret": "…", "password": "…"}' })
    }
    if (password.length < MIN_CHARS || password.length > MAX_CHARS) {
      return reply.code(400).send({ error: `password: must have ${MIN_CHARS} to ${MAX_CHARS} characters` })
    }
    return reply.code(STATUS[await setPassword(secret, password)]).send()
  })
}
