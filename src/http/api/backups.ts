import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Identity } from '../../bridge/ports.ts'
import { type ErrorBody, Refusal } from '../../kernel/errors.ts'
import type { VerbResult } from '../../protocol/results.ts'
import { peerAddress } from '../address.ts'
import type { ApiPorts } from './ports.ts'
import { sendProblem } from './problem.ts'

/**
 * Serves `GET /api/v1/backups/<file name>`, and the same below another path: a backup as a file. Who may list the backups may have them, because the
 * list is asked for in the name of who wants the file; another file cannot be named.
 */
export function backupRoutes(app: FastifyInstance, ports: ApiPorts, path = '/api/v1/backups'): void {
  app.get(`${path}/:name`, async (request, reply) => {
    const { name } = request.params as { name: string }
    const answer = await listFor(request, ports)
    if (answer.error !== undefined) return sendProblem(reply, answer.error)
    const found = answer.data?.items.find(({ file }) => basename(file) === name)
    const size = found && (await stat(found.file).catch(() => undefined))?.size
    if (found === undefined || size === undefined) {
      return sendProblem(
        reply,
        new Refusal('not_found', 'there is no such backup; backup/list has those that are there'),
      )
    }
    return reply
      .type('application/vnd.sqlite3')
      .header('content-length', size)
      .header('content-disposition', `attachment; filename="${basename(found.file)}"`)
      .send(createReadStream(found.file, { end: Math.max(0, size - 1) }))
  })
}

interface ListAnswer {
  readonly data?: VerbResult<'backup/list'>
  readonly error?: ErrorBody
}

async function listFor(request: FastifyRequest, ports: ApiPorts): Promise<ListAnswer> {
  const response = await ports.ask({
    identity: request.getDecorator<Identity>('identity'),
    address: peerAddress(request),
    verb: 'backup/list',
    payload: new Uint8Array(),
    signal: new AbortController().signal,
  })
  return JSON.parse(Buffer.from(response).toString()) as ListAnswer
}
