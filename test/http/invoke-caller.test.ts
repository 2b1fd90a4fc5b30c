import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createHttpCaller } from '../../src/http/invoke/caller.ts'
import { networksOf } from '../../src/http/invoke/networks.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { Refusal } from '../../src/kernel/errors.ts'

let server: Server
let port: number
let requests: string[]

beforeEach(async () => {
  requests = []
  server = createServer((request, response) => {
    requests.push(`${request.headers.host}${request.url}`)
    response.end('{"success":true}')
  })
  // On every address of this machine: what is refused would have been reached.
  await new Promise<void>((done) => server.listen(0, '0.0.0.0', done))
  port = (server.address() as AddressInfo).port
})
afterEach(() => {
  server.close()
})

async function post(endpointUrl: string, names: string[][], address = '127.0.0.1') {
  let asked = 0
  const caller = createHttpCaller({
    clock: systemClock,
    networks: () => [],
    lookup: async () => (names[Math.min(asked++, names.length - 1)] ?? []).map((each) => ({ address: each })),
  })
  const body = Buffer.from('{}')
  const outcome = await new Promise<Uint8Array | Refusal>((done) => {
    caller.post({ nodeId: 'r1', endpointUrl, address, secret: 's', body }, done)
  })
  return { asked, outcome: outcome instanceof Refusal ? outcome.code : Buffer.from(outcome).toString() }
}

test('a name is asked for once, and the connection goes to the address that was checked', async () => {
  // A name server that answers with another address when it is asked again.
  const names = [['10.255.0.1', '127.0.0.1'], ['127.0.0.2']]
  expect(await post(`http://limb.test:${port}/a/?b=c#d`, names)).toEqual({
    asked: 1,
    outcome: '{"success":true}',
  })
  expect(requests).toEqual([`limb.test:${port}/a/invoke?b=c`])
})

test('a name that leads elsewhere is not connected to', async () => {
  expect(await post(`http://limb.test:${port}`, [['127.0.0.2', '::1']])).toMatchObject({
    outcome: 'node_offline',
  })
  expect(await post(`http://limb.test:${port}`, [[]])).toMatchObject({ outcome: 'node_offline' })
  expect(requests).toEqual([])
})

test('an address in another notation is the same address', async () => {
  expect(await post(`http://0x7f.1:${port}`, [])).toMatchObject({ asked: 0, outcome: '{"success":true}' })
  expect(await post(`http://127.0.0.1:${port}`, [], '::ffff:127.0.0.1')).toMatchObject({
    outcome: '{"success":true}',
  })
  expect(await post(`http://0x7f000002:${port}`, [])).toMatchObject({ outcome: 'node_offline' })
})

test('networks hold addresses of their family, also those in the clothes of the other', () => {
  const allowed = networksOf(['192.168.0.0/16', 'fd00::/8', '10.1.2.3'])
  const inside = ['192.168.7.1', '::ffff:192.168.7.1', 'fd12::1', '10.1.2.3']
  const outside = ['192.169.0.1', '::ffff:10.0.0.1', 'fe80::1', '10.1.2.4', 'limb.test', '']
  expect(inside.filter((address) => !allowed.has(address))).toEqual([])
  expect(outside.filter((address) => allowed.has(address))).toEqual([])
})
