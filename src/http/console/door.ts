import type { FastifyInstance } from 'fastify'
import type { Identity } from '../../bridge/ports.ts'
import { crossOrigin, signIn } from '../api/access.ts'
import { backupRoutes } from '../api/backups.ts'
import type { ApiPorts } from '../api/ports.ts'
import { GUARDS } from './guards.ts'

/**
 * Answers what the page asks over HTTP after a sign-in, whether or not the HTTP API is open: `GET /console/session`, to whom a
 * token belongs, and `GET /console/backups/<file name>`. Everything else it asks over MQTT.
 */

export interface ConsoleDoorOptions {
  readonly ports: ApiPorts
  readonly allowedOrigins: () => readonly string[]
}

const CROSS_ORIGIN = { methods: 'GET', headers: 'authorization' }

export async function consoleDoor(app: FastifyInstance, options: ConsoleDoorOptions): Promise<void> {
  const { ports, allowedOrigins } = options
  await app.register(async (door) => {
    door.addHook('onRequest', async (request, reply) => {
      void reply.headers(GUARDS).header('cache-control', 'no-store')
      return crossOrigin(request, reply, allowedOrigins(), CROSS_ORIGIN) ?? signIn(request, reply, ports)
    })
    door.get('/console/session', async (request) => whoIs(request.getDecorator<Identity>('identity')))
    backupRoutes(door, ports, '/console/backups')
  })
}

function whoIs(identity: Identity): { name: string } | Record<string, never> {
  return identity.kind === 'principal' ? { name: identity.name } : {}
}
