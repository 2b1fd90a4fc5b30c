import type { Server, Socket } from 'node:net'
import { createServer, type SecureContextOptions, type TLSSocket, type TlsOptions } from 'node:tls'
import { connectionBelow, type HandshakeTurns } from '../kernel/handshake-turns.ts'
import type { Network } from '../kernel/networks.ts'
import { certificateFault, showsCertificate } from '../kernel/peer-certificate.ts'
import { clientAddressOf } from '../kernel/proxy-door.ts'
import { ITS_CERTIFICATE } from './handshake-words.ts'

/** TLS in front of a session: the handshake, and whose certificate the peer has shown. */

export interface TlsSettings {
  readonly material: SecureContextOptions
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  /** Is true if peers are asked for a certificate of `material.ca`. */
  readonly asksForCertificate: boolean
  readonly requiresCertificate: boolean
  readonly handshakeTimeoutMs: number
  /** The proxies whose connections begin with a header of the PROXY protocol. */
  readonly proxyNetworks?: readonly Network[]
  /** The wall time, by which certificates have ended. */
  readonly nowMs: () => number
}

export interface TlsHandshakes {
  /** Begins TLS on a connection that was accepted; `over` is called once, when its handshake is, or it is gone. */
  begin(raw: Socket, over: () => void): void
  /** Sets the material for the handshakes from now on. */
  setMaterial(material: SecureContextOptions): void
  close(): void
}

export interface HandshakeResults {
  readonly secured: (socket: TLSSocket, certificateName: string | undefined) => void
  /** `name`: the common name of a certificate that was shown and not believed. */
  readonly failed: (address: string, reason: string, name?: string) => void
}

/**
 * The ciphers with forward secrecy and authenticated encryption only: those that Mozilla calls `intermediate`,
 * without DHE.
 */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

export function tlsHandshakes(
  settings: TlsSettings,
  turns: HandshakeTurns,
  results: HandshakeResults,
): TlsHandshakes {
  const { material, minVersion, asksForCertificate } = settings
  const base: TlsOptions = { minVersion, ciphers: CIPHERS }
  const server: ReturnType<typeof createServer> = createServer({
    ...base,
    ...material,
    requestCert: asksForCertificate,
    // Node would end the connection without a word about why; `faultOf` decides.
    rejectUnauthorized: false,
    handshakeTimeout: settings.handshakeTimeoutMs,
  })
  // By the connection itself: one that was gone before it was accepted has no address, and neither have others.
  const pending = new Map<Socket, () => void>()
  const over = (raw: Socket) => {
    pending.get(raw)?.()
    pending.delete(raw)
  }

  server.on('secureConnection', (socket) => {
    const raw = connectionBelow(socket)
    const fault = faultOf(socket, settings)
    if (fault === undefined) {
      const name = nameShownBy(socket)
      turns.secured(raw, () => {
        over(raw)
        results.secured(socket, name)
      })
      return
    }
    over(raw)
    const address = clientAddressOf(socket)
    const name: unknown = showsCertificate(socket) ? socket.getPeerCertificate().subject?.CN : undefined
    socket.on('error', () => undefined)
    socket.destroy()
    results.failed(address, ITS_CERTIFICATE + fault, typeof name === 'string' ? name : undefined)
  })
  server.on('tlsClientError', (error, socket) => {
    const { code } = error as NodeJS.ErrnoException
    // A peer that has gone has no address any more.
    results.failed(clientAddressOf(socket), code === undefined ? error.message : `${error.message} (${code})`)
    socket.destroy()
  })
  // A peer that is gone in the middle of its handshake.
  server.on('error', () => undefined)

  return {
    begin(raw, isOver) {
      pending.set(raw, isOver)
      raw.once('close', () => over(raw))
      const address = clientAddressOf(raw)
      turns.enter(
        raw,
        // The documented way to hand a connection in.
        () => void (server as unknown as Server).emit('connection', raw),
        (reason) => results.failed(address, reason),
      )
    },
    setMaterial: (next) => server.setSecureContext({ ...base, ...next }),
    close() {
      for (const raw of pending.keys()) raw.destroy()
    },
  }
}

/** A certificate that is shown and not believed is a fault: to go on without it would hide why nothing works. */
function faultOf(socket: TLSSocket, { requiresCertificate, nowMs }: TlsSettings): string | undefined {
  if (!showsCertificate(socket)) return requiresCertificate ? 'none was shown' : undefined
  return certificateFault(socket, nowMs())
}

/** The common name of a certificate that was believed; empty when it has none, or several, which are nobody's. */
function nameShownBy(socket: TLSSocket): string | undefined {
  if (!socket.authorized || !showsCertificate(socket)) return undefined
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' ? name : ''
}
