import { isIP } from 'node:net'
import { isLoopbackAddress, unmappedAddress } from '../../kernel/address.ts'
import { type AllowedNetworks, type Network, networksOf } from '../../kernel/networks.ts'

/**
 * Decides where a request may go. An endpoint that a limb registers is a wish: it must not make the bridge talk to
 * anybody else.
 */

/**
 * Allows the address that a limb itself connects from, unless that is this machine's own: behind it stand services that
 * trust who comes from there. Only `invocation.httpNetworks` opens those.
 */
export function ownAddressOf(address: string | undefined): AllowedNetworks {
  if (address === undefined) return { has: () => false }
  const own = unmappedAddress(address)
  return isOwnMachine(own) ? { has: () => false } : networksOf([own])
}

/** Returns whether an address leads to this machine, whatever its interfaces: loopback, and the unspecified one. */
export function isOwnMachine(address: string): boolean {
  const unmapped = unmappedAddress(address)
  return isLoopbackAddress(unmapped) || unmapped.startsWith('0.') || unmapped === '::'
}

/**
 * Addresses that are nobody's on the internet: this machine, private networks, those of links and of a provider's own
 * network, documentation, multicast, and what carries such an address inside (NAT64, 6to4, Teredo).
 */
const NOT_PUBLIC = networksOf([
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15'],
  ...['198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
  ...['::/96', '64:ff9b::/96', '64:ff9b:1::/48', '100::/64', '2001::/23', '2001:db8::/32', '2002::/16'],
  ...['3fff::/20', '5f00::/16', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8'],
])

/** Allows addresses of the internet, and those of the networks that are named. */
export function publicAnd(networks: readonly Network[]): AllowedNetworks {
  const named = networksOf(networks)
  return { has: (address) => isIP(address) !== 0 && (!NOT_PUBLIC.has(address) || named.has(address)) }
}

export interface Resolved {
  readonly address: string
  readonly family: 4 | 6
}

/** Names to addresses, in the order in which to try them. */
export type Lookup = (host: string) => Promise<readonly { readonly address: string }[]>

/**
 * Invocations that want the same name at the same time wait for one look-up. The system's look-ups stand in a queue
 * of four places: without it some invocations to one name that resolves slowly would hold up every other limb, and
 * every file.
 */
export function sharedLookup(lookup: Lookup): Lookup {
  const underWay = new Map<string, ReturnType<Lookup>>()
  return (host) => {
    const found = underWay.get(host) ?? lookup(host).finally(() => underWay.delete(host))
    underWay.set(host, found)
    return found
  }
}

/** The most answers of a name: more are no limb's. */
const MAX_ANSWERS = 16

/** The allowed addresses of a host, in order. The connection then goes to one of these and asks no name again. */
export async function resolveAllowed(
  host: string,
  allowed: AllowedNetworks,
  lookup: Lookup,
): Promise<readonly Resolved[]> {
  const found = isIP(host) ? [{ address: host }] : await lookup(host)
  return found
    .slice(0, MAX_ANSWERS)
    .filter(({ address }) => allowed.has(address))
    .map(({ address }) => ({ address, family: isIP(address) === 6 ? 6 : 4 }))
}
