import { isIP } from 'node:net'
import { hostname } from 'node:os'

/** Decides who may open a WebSocket: a browser says with `Origin` which page asks, and any page may ask. */

const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/(.+)$/i
/** The machine's own names, which nobody elsewhere can make it answer to; `.local` is of mDNS, and never of DNS. */
const OWN_NAMES: ReadonlySet<string> = new Set(namesOf(hostname().toLowerCase()))

function namesOf(full: string): string[] {
  const [short = full] = full.split('.')
  return ['localhost', full, short, `${short}.local`]
}

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
 * of an address, `localhost` or the machine's own name: a page of any other name can make that name ours (DNS rebinding).
 */
function isOwn(origin: string, host = ''): boolean {
  const place = ORIGIN.exec(origin)?.[1]?.toLowerCase()
  if (place === undefined || place !== host.toLowerCase()) return false
  const [, bracketed, name = ''] = HOST.exec(place) ?? []
  return bracketed === undefined ? OWN_NAMES.has(name) || isIP(name) === 4 : isIP(bracketed) === 6
}
