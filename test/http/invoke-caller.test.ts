import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createHttpCaller } from '../../src/http/invoke/caller.ts'
import { networksOf } from '../../src/http/invoke/networks.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { Refusal } from '../../src/kernel/errors.ts'
import { authority } from '../support/certificates.ts'

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
  if (!(outcome instanceof Refusal)) return { asked, outcome: Buffer.from(outcome).toString(), message: '' }
  return { asked, outcome: outcome.code, message: outcome.message }
}

test('a name is asked for once, and the connection goes to the address that was checked', async () => {
  // A name server that answers with another address when it is asked again.
  const names = [['10.255.0.1', '127.0.0.1'], ['127.0.0.2']]
  expect(await post(`http://limb.test:${port}/a/?b=c#d`, names)).toMatchObject({
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

describe('a TLS connection that fails', () => {
  async function refusalAt(url: string): Promise<string> {
    const { message } = await post(url, [])
    expect(message).not.toMatch(/[\n\r]|openssl|deps\/|:error:/)
    return message
  }

  async function serveTls(pair: { key: Buffer; cert: Buffer }): Promise<string> {
    const secure = createTlsServer(pair, (_, response) => response.end('{"success":true}'))
    onTestFinished(() => void secure.close())
    await new Promise<void>((done) => secure.listen(0, '127.0.0.1', done))
    return `127.0.0.1:${(secure.address() as AddressInfo).port}`
  }

  test('because nothing there speaks TLS is told in a sentence', async () => {
    expect(await refusalAt(`https://127.0.0.1:${port}`)).toMatch(
      /^r1 cannot be reached at 127\.0\.0\.1:\d+: it does not speak TLS there; register an http:\/\/ endpointUrl/,
    )
  })

  test('because of the certificate says what is wrong with it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limb-caller-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const ca = authority(folder)
    expect(await refusalAt(`https://${await serveTls(ca.issue('limb'))}`)).toMatch(
      /its certificate comes from an authority that the machine of the bridge does not trust, or/,
    )
    expect(await refusalAt(`https://${await serveTls(ca)}`)).toMatch(
      /its certificate is not one for servers \(INVALID_PURPOSE\)$/,
    )
  })
})

test('networks hold addresses of their family, also those in the clothes of the other', () => {
  const allowed = networksOf(['192.168.0.0/16', 'fd00::/8', '10.1.2.3'])
  const inside = ['192.168.7.1', '::ffff:192.168.7.1', 'fd12::1', '10.1.2.3']
  const outside = ['192.169.0.1', '::ffff:10.0.0.1', 'fe80::1', '10.1.2.4', 'limb.test', '']
  expect(inside.filter((address) => !allowed.has(address))).toEqual([])
  expect(outside.filter((address) => allowed.has(address))).toEqual([])
})
