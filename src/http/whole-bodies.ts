import type { IncomingMessage } from 'node:http'
import { errorCodes, type FastifyInstance, type FastifyRequest } from 'fastify'
import { Gathered } from './outbound/gathered.ts'

/**
 * Reads the bodies of requests in one piece. Fastify keeps a list of what Node's parser gives it, which is an object for
 * each chunk of a body that is sent in chunks, however small: 64 KiB of a stranger, in chunks of one byte, cost ten
 * megabytes.
 *
 * `maxBytes`: of routes that name no bound of their own.
 */
export function readWholeBodies(app: FastifyInstance, maxBytes: number): void {
  app.removeAllContentTypeParsers()
  app.addHook('onRoute', (route) => {
    route.bodyLimit ??= maxBytes
  })
  app.addContentTypeParser('application/json', (request: FastifyRequest, payload: IncomingMessage) =>
    readWhole(payload, request.routeOptions.bodyLimit),
  )
}

/** Rejects when the body is larger, or was cut off. */
async function readWhole(payload: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = () => new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE()
  if (Number(payload.headers['content-length'] ?? 0) > maxBytes) throw tooLarge()
  const body = new Gathered()
  return await new Promise((resolve, reject) => {
    const end = () => payload.off('data', take).off('end', whole).off('error', broken)
    const take = (piece: Buffer) => {
      if (body.length + piece.length <= maxBytes) {
        body.push(piece)
        return
      }
      end()
      reject(tooLarge())
    }
    const whole = () => {
      end()
      resolve(body.bytes())
    }
    // Of one that was cut off there is nobody to be told.
    const broken = (error: Error) => {
      end()
      reject(Object.assign(error, { statusCode: 400 }))
    }
    payload.on('data', take).once('end', whole).once('error', broken)
  })
}
