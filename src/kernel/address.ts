import { isIPv6 } from 'node:net'

/** Says whose an IP address is, for limits: what one peer can choose freely must not be many peers. */

const IPV6_GROUPS = 8
/** A household or a server has a /64 of its own: 2^64 addresses to come from. */
const NETWORK_GROUPS = 4

/**
 * Returns an IPv4 address as it is, the network of an IPv6 address (`2001:db8:0:1::/64`), anything else as it is. All links
 * have the same addresses of their own (`fe80::/64`), so that these are of the link that they came by (`%eth0`).
 */
export function addressGroup(address: string): string {
  if (!address.includes(':') || !isIPv6(address) || isLoopbackAddress(address)) return address
  const { bare, zone } = zoneOf(address)
  const [head = '', tail] = bare.toLowerCase().split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = tail === undefined ? 0 : Math.max(0, IPV6_GROUPS - before.length - after.length)
  const groups = [...before, ...Array.from({ length: missing }, () => '0'), ...after]
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => group.replace(/^0+(?=.)/, ''))
  return `${network.join(':')}::/64${zone === '' ? '' : `%${zone}`}`
}

/** Splits an address and the link that it is of: `fe80::1%eth0`. Empty: it names none. */
export function zoneOf(address: string): { readonly bare: string; readonly zone: string } {
  const [bare = '', zone = ''] = address.split('%')
  return { bare, zone }
}

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** An IPv4 address that came through an IPv6 listener is the IPv4 address. */
export function unmappedAddress(address: string): string {
  return MAPPED.exec(address)?.[1] ?? address
}

/**
 * Returns whether it is this machine's loopback, also as IPv6 writes an IPv4 address. Proxies, tunnels and simulators
 * come from there: one address for many peers.
 */
export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || unmappedAddress(address).startsWith('127.')
}

/** Writes a host and a port as a URL does: an IPv6 address has brackets. */
export function hostAndPort({
  host,
  port,
}: {
  readonly host: string
  readonly port: number | string
}): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
