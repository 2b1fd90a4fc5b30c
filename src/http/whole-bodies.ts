import type { IncomingMessage } from 'node:http'
import { errorCodes, type FastifyInstance } from 'fastify'
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
  app.addContentTypeParser('application/json', (request, payload, done) =>
    readWhole(payload, request.routeOptions.bodyLimit, done),
  )
}

function readWhole(
  payload: IncomingMessage,
  maxBytes: number,
  done: (error: Error | null, body?: Buffer) => void,
): void {
  if (Number(payload.headers['content-length'] ?? 0) > maxBytes) {
    done(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
    return
  }
  const body = new Gathered()
  const end = (error: Error | null) => {
    payload.off('data', take)
    payload.off('end', whole)
    payload.off('error', broken)
    if (error === null) done(null, body.bytes())
    else done(error)
  }
  const take = (piece: Buffer) => {
    if (body.length + piece.length > maxBytes) end(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
    else body.push(piece)
  }
  const whole = () => end(null)
  // Of one that was cut off there is nobody to be told.
  const broken = (error: Error) => end(Object.assign(error, { statusCode: 400 }))
  payload.on('data', take)
  payload.once('end', whole)
  payload.once('error', broken)
}
