import type { TLSSocket } from 'node:tls'

/** Judges the certificate that a peer has shown, for every listener with TLS. */

/** The slice of a TLS connection that is judged. */
export type CertifiedPeer = Pick<TLSSocket, 'authorized' | 'authorizationError' | 'getPeerCertificate'>

/**
 * Returns why a certificate that was shown is not believed, or undefined. A connection that resumes an earlier session
 * shows the certificate of that one, and OpenSSL does not look at its dates again.
 */
export function certificateFault(socket: CertifiedPeer, nowMs: number): string | undefined {
  if (!socket.authorized) return String(socket.authorizationError ?? 'not authorized')
  const { valid_from: from, valid_to: to } = socket.getPeerCertificate()
  // A date that cannot be read holds nobody in.
  if (!(nowMs <= Date.parse(to))) return 'CERT_HAS_EXPIRED'
  return nowMs >= Date.parse(from) ? undefined : 'CERT_NOT_YET_VALID'
}

/** Returns whether the peer shows one. Without one Node gives an empty object, and null once the peer is gone. */
export function showsCertificate(socket: CertifiedPeer): boolean {
  return Object.keys(socket.getPeerCertificate() ?? {}).length > 0
}
