import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { BodyBytes } from '../held-bytes.ts'
import { onceOver } from '../once-over.ts'
import { principalOf } from '../unread-answers.ts'

/** Smaller bodies are not counted: a connection costs as much. */
const SMALL_BYTES = 16_384

/** Adds the bound of bodies to routes whose requests have signed in. `refuse` answers when there is no room. */
export function boundBodies(
  app: FastifyInstance,
  bodies: BodyBytes,
  maxBodyBytes: number,
  refuse: (reply: FastifyReply, text: string) => unknown,
): void {
  app.addHook('onRequest', async (request, reply) => {
    const bytes = bodyBytesOf(request, maxBodyBytes)
    if (bytes < SMALL_BYTES) return undefined
    const release = bodies.reserve(principalOf(request), bytes)
    if (release === undefined)
      return await refuse(reply, 'too many large requests are under way; send fewer at once')
    onceOver(request, reply, release)
    return undefined
  })
}

/** Returns the bytes that a body may have: those that it announces, or the most. */
function bodyBytesOf({ headers }: FastifyRequest, maxBodyBytes: number): number {
  const announced = headers['content-length']
  if (announced !== undefined) return Math.min(Number(announced) || 0, maxBodyBytes)
  return headers['transfer-encoding'] === undefined ? 0 : maxBodyBytes
}
