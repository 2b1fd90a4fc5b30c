import type { FastifyRequest } from 'fastify'
import { unmappedAddress } from '../kernel/address.ts'

/** Returns the IP address of the peer, without port; headers of proxies are not believed. */
export function peerAddress(request: FastifyRequest): string {
  return unmappedAddress(request.socket.remoteAddress ?? 'unknown')
}
