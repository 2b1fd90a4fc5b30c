import { isIP } from 'node:net'

/** Decides who may open a WebSocket: a browser says with `Origin` which page asks, and any page may ask. */

const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/(.+)$/i
const HOST = /^(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?$/

/** `undefined` is no browser's. `allowed` may hold `*`. */
export function originAllowed(
  origin: string | undefined,
  host: string | undefined,
  allowed: readonly string[],
): boolean {
  return origin === undefined || allowed.includes('*') || allowed.includes(origin) || isOwn(origin, host)
}

/**
 * Programs such as paho name the place that they connect to, with a scheme of their own liking. That is only believed
 * of an address or `localhost`: a page of any other name can make that name ours (DNS rebinding).
 */
function isOwn(origin: string, host = ''): boolean {
  const place = ORIGIN.exec(origin)?.[1]?.toLowerCase()
  if (place === undefined || place !== host.toLowerCase()) return false
  const [, bracketed, plain = ''] = HOST.exec(place) ?? []
  return bracketed === undefined ? plain === 'localhost' || isIP(plain) === 4 : isIP(bracketed) === 6
}
