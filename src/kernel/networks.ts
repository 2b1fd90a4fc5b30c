import { BlockList, isIP } from 'node:net'
import { unmappedAddress, zoneOf } from './address.ts'

/**
 * `192.168.0.0/16`, `fd00::/8`, or one address. With a link (`fe80::%eth0/64`) it is only what came by that, without one it is of
 * all links.
 */
export type Network = string

export interface AllowedNetworks {
  has(address: string): boolean
}

const family = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

export function networksOf(networks: readonly Network[]): AllowedNetworks {
  const ofAllLinks = new BlockList()
  const ofLinks = new Map<string, BlockList>()
  for (const network of networks) {
    const [address = '', bits] = network.split('/')
    const { bare, zone } = zoneOf(address)
    const list = zone === '' ? ofAllLinks : (ofLinks.get(zone) ?? new BlockList())
    if (zone !== '') ofLinks.set(zone, list)
    if (bits === undefined) list.addAddress(bare, family(bare))
    else list.addSubnet(bare, Number(bits), family(bare))
  }
  return {
    has(address) {
      if (isIP(address) === 0) return false
      const { bare, zone } = zoneOf(address)
      const own = unmappedAddress(bare)
      return ofAllLinks.check(own, family(own)) || ofLinks.get(zone)?.check(own, family(own)) === true
    },
  }
}
