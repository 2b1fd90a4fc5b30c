import { isIP, type Socket } from 'node:net'
import { type SecureContext, connect as tlsConnect } from 'node:tls'

/** Reads from a URL how to connect to its server. */

export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '')
}

export function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port)
  return protocol === 'https:' ? 443 : 80
}

/** The certificate has to be that of the name, or of the address if the URL has one. */
export function encrypted(url: URL, socket: Socket, secureContext: SecureContext): Socket {
  const host = hostOf(url)
  return tlsConnect({
    socket,
    host,
    secureContext,
    ...(isIP(host) ? {} : { servername: host }),
    ALPNProtocols: ['http/1.1'],
  })
}

/** Makes the URL of what a limb serves below its endpoint. */
export function endpointOf(endpointUrl: string, leaf: 'invoke' | 'health'): URL {
  const url = new URL(endpointUrl)
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/${leaf}`
  url.hash = ''
  return url
}
