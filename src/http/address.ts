import type { FastifyRequest } from 'fastify'
import { clientAddressOf } from '../kernel/proxy-door.ts'

/** Returns the IP address of the peer, without port; HTTP headers of proxies are not believed. */
export function peerAddress(request: FastifyRequest): string {
  return clientAddressOf(request.socket)
}
