import { BlockList, isIP } from 'node:net'
import { unmappedAddress } from './address.ts'

/** `192.168.0.0/16`, `fd00::/8`, or one address. */
export type Network = string

export interface AllowedNetworks {
  has(address: string): boolean
}

const family = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

export function networksOf(networks: readonly Network[]): AllowedNetworks {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', bits] = network.split('/')
    if (bits === undefined) list.addAddress(address, family(address))
    else list.addSubnet(address, Number(bits), family(address))
  }
  return {
    has: (address) =>
      isIP(address) !== 0 && list.check(unmappedAddress(address), family(unmappedAddress(address))),
  }
}
