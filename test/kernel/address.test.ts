import { describe, expect, test } from 'vitest'
import { addressGroup, hostAndPort, isLoopbackAddress, unmappedAddress } from '../../src/kernel/address.ts'
import { networksOf } from '../../src/kernel/networks.ts'

describe('the group of an address', () => {
  test.each([
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:0:0:8000::', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64%eth0'],
    ['fe80::2:1%eth0', 'fe80:0:0:0::/64%eth0'],
    ['fe80::1%wlan0', 'fe80:0:0:0::/64%wlan0'],
    ['fe80::1', 'fe80:0:0:0::/64'],
    ['::1', '::1'],
    ['local', 'local'],
    ['unknown', 'unknown'],
    ['not:an:address', 'not:an:address'],
  ])('%s is %s', (address, group) => {
    expect(addressGroup(address)).toBe(group)
  })
})

test('an IPv4 address that came through IPv6 is plain, and loopback is known', () => {
  expect(unmappedAddress('::ffff:192.0.2.7')).toBe('192.0.2.7')
  expect(unmappedAddress('2001:db8::1')).toBe('2001:db8::1')
  expect(
    ['127.0.0.1', '127.9.9.9', '::ffff:127.0.0.1', '::1', '10.0.0.1', '::2'].map(isLoopbackAddress),
  ).toEqual([true, true, true, true, false, false])
})

test('a network of a link is not that of another link, and one that names none is of all', () => {
  const has = (network: string, ...addresses: string[]) => addresses.map(networksOf([network]).has)
  const peers = ['fe80::1%eth0', 'fe80::1%wlan0', 'fe80::1']
  expect(has('fe80::1%eth0', ...peers, 'fe80::2%eth0')).toEqual([true, false, false, false])
  expect(has('fe80::%eth0/64', ...peers, 'fe80::2%eth0')).toEqual([true, false, false, true])
  expect(has('fe80::/64', ...peers)).toEqual([true, true, true])
  expect(has('127.0.0.0/8', '::ffff:127.0.0.1', '::ffff:127.0.0.1%eth0', 'fe80::1%eth0')).toEqual([
    true,
    true,
    false,
  ])
})

test('a host and a port are written as a URL has them', () => {
  expect(hostAndPort({ host: '127.0.0.1', port: 1883 })).toBe('127.0.0.1:1883')
  expect(hostAndPort({ host: 'bridge.lan', port: 1883 })).toBe('bridge.lan:1883')
  expect(hostAndPort({ host: '::1', port: 8083 })).toBe('[::1]:8083')
})
