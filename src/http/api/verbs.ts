import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Identity } from '../../bridge/ports.ts'
import { type ErrorBody, Refusal } from '../../kernel/errors.ts'
import { isVerb, noVerb, VERBS, type VerbDefinition } from '../../protocol/verbs.ts'
import { peerAddress } from '../address.ts'
import type { DueAnswers } from '../due-answers.ts'
import type { ApiPorts } from './ports.ts'
import { sendProblem } from './problem.ts'

export const API_PREFIX = '/api/v1/'

interface VerbResponse {
  readonly ok: boolean
  readonly data?: unknown
  readonly error?: ErrorBody
}

/** Serves `POST /api/v1/<verb>`: the verb's arguments as JSON in, its `data` or a problem out. */
export function verbRoutes(app: FastifyInstance, ports: ApiPorts, due: DueAnswers): void {
  app.post(`${API_PREFIX}*`, async (request, reply) => {
    const verb = (request.params as { '*': string })['*']
    if (!isVerb(verb)) {
      return sendProblem(
        reply,
        new Refusal('not_found', noVerb(verb, `${API_PREFIX}openapi.json lists them`)),
      )
    }
    const [stray] = Object.keys(request.query as object)
    if (stray !== undefined) {
      // Passed over in silence, a filter that stands there would give the whole list.
      const name = stray.slice(0, 64)
      const text = `${name}: arguments go into the body as JSON, not into the address`
      return sendProblem(reply, new Refusal('invalid_request', text, name))
    }
    const { long }: VerbDefinition = VERBS[verb]
    if (!long) due.enter(request, reply)
    const payload = await ports.ask({
      identity: request.getDecorator<Identity>('identity'),
      address: peerAddress(request),
      verb,
      payload: (request.body as Buffer | undefined) ?? new Uint8Array(),
      signal: goneSignal(reply),
    })
    return answer(reply, Buffer.from(payload.buffer, payload.byteOffset, payload.length))
  })

  app.route({
    method: ['GET', 'PUT', 'PATCH', 'DELETE'],
    url: `${API_PREFIX}*`,
    handler: async (_request, reply) => {
      const text = `ask with POST ${API_PREFIX}<verb>, with the verb's arguments as JSON`
      return sendProblem(reply.header('allow', 'POST'), new Refusal('invalid_request', text), 405)
    },
  })
}

/** The bytes before and behind the data of a response without a transaction. */
const BEFORE_DATA = Buffer.from('{"ok":true,"data":')
const BEHIND_DATA = 1

/** Answers with the data of the response: as they stand in it, because a large page is dear to read and write again. */
function answer(reply: FastifyReply, response: Buffer): FastifyReply {
  const type = 'application/json; charset=utf-8'
  if (response.subarray(0, BEFORE_DATA.length).equals(BEFORE_DATA))
    return reply.type(type).send(response.subarray(BEFORE_DATA.length, response.length - BEHIND_DATA))
  const { ok, data, error } = JSON.parse(response.toString()) as VerbResponse
  if (!ok && error !== undefined) return sendProblem(reply, error)
  return reply.type(type).send(JSON.stringify(data ?? {}))
}

/** Is aborted when the client has gone before it was answered. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort()
  })
  return gone.signal
}
