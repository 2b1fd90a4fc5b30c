import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, createServer as createRawServer, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createHttpLimbClient } from '../../src/http/limb-client/client.ts'
import { brokenAnswer } from '../../src/http/outbound/broken-answer.ts'
import { alternating, raceToConnect } from '../../src/http/outbound/race.ts'
import { type Clock, systemClock } from '../../src/kernel/clock.ts'
import { Refusal } from '../../src/kernel/errors.ts'
import { networksOf } from '../../src/kernel/networks.ts'
import { authority } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { skipWithout } from '../support/needs.ts'

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

async function post(
  endpointUrl: string,
  names: string[][],
  address = '127.0.0.1',
  networks: readonly string[] = ['127.0.0.1'],
  caFile: string | null = null,
  clock: Clock = systemClock,
) {
  let asked = 0
  const caller = createHttpLimbClient({
    clock,
    networks: () => networks,
    caFile: () => caFile,
    lookup: async () => (names[Math.min(asked++, names.length - 1)] ?? []).map((each) => ({ address: each })),
  })
  const body = Buffer.from('{}')
  const [outcome, why] = await new Promise<[Uint8Array | Refusal, string | undefined]>((done) => {
    caller.post({ nodeId: 'r1', endpointUrl, address, secret: 's', body }, (...answer) =>
      done([answer[0], answer[1]]),
    )
  })
  if (!(outcome instanceof Refusal)) return { asked, outcome: Buffer.from(outcome).toString(), message: '' }
  // What the log says is more than the invoker is told, of what was no answer in HTTP.
  return { asked, outcome: outcome.code, message: why ?? outcome.message }
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

test('a name that resolves slowly is looked up once for all its calls, and holds up no other', async () => {
  const asked: string[] = []
  let resolveSlow = (_: { address: string }[]) => {}
  const slow = new Promise<{ address: string }[]>((done) => {
    resolveSlow = done
  })
  const caller = createHttpLimbClient({
    clock: systemClock,
    networks: () => ['127.0.0.1'],
    lookup: (host) => {
      asked.push(host)
      return host === 'slow.test' ? slow : Promise.resolve([{ address: '127.0.0.1' }])
    },
  })
  const call = (host: string) =>
    new Promise<string>((done) => {
      const endpointUrl = `http://${host}:${port}`
      const sent = { nodeId: 'r1', endpointUrl, address: '127.0.0.1', secret: 's', body: Buffer.from('{}') }
      caller.post(sent, (outcome) => done(String(outcome)))
    })
  const waiting = [call('slow.test'), call('slow.test'), call('slow.test')]
  await call('fast.test')
  expect(asked).toEqual(['slow.test', 'fast.test'])
  resolveSlow([{ address: '127.0.0.1' }])
  await Promise.all(waiting)
  expect(requests).toHaveLength(4)
  // What was found is not kept: the next call asks anew.
  await call('slow.test')
  expect(asked).toHaveLength(3)
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

describe('a name of several allowed addresses', () => {
  const BOTH = ['127.0.0.0/8', '::1']

  test.each([
    ['the other family', ['::1', '127.0.0.1']],
    ['the same family', ['127.0.0.2', '127.0.0.3', '127.0.0.1']],
    ['the first', ['127.0.0.1', '::1']],
  ])('is invoked at the one where its server listens: %s', async (_which, addresses) => {
    const only = createServer((_, response) => response.end('{"success":true}'))
    onTestFinished(() => void only.close())
    await new Promise<void>((done) => only.listen(0, '127.0.0.1', done))
    const url = `http://limb.test:${(only.address() as AddressInfo).port}`
    expect(await post(url, [addresses], '127.0.0.1', BOTH)).toMatchObject({
      asked: 1,
      outcome: '{"success":true}',
    })
  })

  test('is not invoked at those that are not allowed', async () => {
    const { outcome } = await post(`http://limb.test:${port}`, [['::1', '127.0.0.1']], '127.0.0.1', ['::1'])
    expect([outcome, requests]).toEqual(['node_offline', []])
  })

  test('is sent one request, also when the server that was connected to hangs up', async () => {
    let connections = 0
    const hangsUp = createRawServer((socket) => {
      connections++
      socket.on('error', () => {})
      socket.once('data', () => socket.destroy())
    })
    onTestFinished(() => void hangsUp.close())
    await new Promise<void>((done) => hangsUp.listen(0, '0.0.0.0', done))
    const url = `http://limb.test:${(hangsUp.address() as AddressInfo).port}`
    // By a clock that stands still: the second address is not tried because the first one took long.
    const { outcome } = await post(
      url,
      [['127.0.0.1', '127.0.0.2']],
      '127.0.0.1',
      BOTH,
      null,
      new FakeClock(),
    )
    expect([outcome, connections]).toEqual(['node_error', 1])
  })

  test('is unreachable when nothing listens at any of them, with the reason of the first', async () => {
    server.close()
    const { outcome, message } = await post(
      `http://limb.test:${port}`,
      [['127.0.0.2', '127.0.0.3']],
      '127.0.0.1',
      BOTH,
    )
    expect([outcome, message]).toEqual(['node_offline', expect.stringContaining('ECONNREFUSED 127.0.0.2')])
  })

  test('alternates between the families, beginning with that of the first address', () => {
    const of = (address: string) => ({ address, family: address.includes(':') ? (6 as const) : (4 as const) })
    const found = ['::1', '::2', '::3', '10.0.0.1'].map(of)
    expect(alternating(found).map(({ address }) => address)).toEqual(['::1', '10.0.0.1', '::2', '::3'])
    expect(alternating([])).toEqual([])
  })

  test('tries the next beside one that is silent, and closes the slower', async () => {
    const silent = new Socket()
    const ticks: (() => void)[] = []
    const clock: Clock = {
      ...systemClock,
      after(_ms, task) {
        ticks.push(task)
        return () => {}
      },
    }
    const winner = await new Promise<Socket>((connected, failed) => {
      raceToConnect({
        addresses: [
          { address: '127.0.0.2', family: 4 },
          { address: '127.0.0.1', family: 4 },
        ],
        port,
        clock,
        open: (to) => (to.address === '127.0.0.2' ? silent : connect(port, to.address)),
        connected,
        failed,
      })
      ticks[0]?.()
    })
    expect([winner.remoteAddress, winner.destroyed, silent.destroyed]).toEqual(['127.0.0.1', false, true])
    winner.destroy()
  })
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

  test('because of the certificate says what is wrong with it', async (context) => {
    skipWithout(context, 'openssl')
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

describe("a limb whose certificate comes from one's own authority", () => {
  async function secureLimb(folder: string) {
    const ca = authority(folder)
    const secure = createTlsServer(ca.issue('localhost'), (_, response) => response.end('{"success":true}'))
    onTestFinished(() => {
      secure.close()
      rmSync(folder, { recursive: true, force: true })
    })
    await new Promise<void>((done) => secure.listen(0, '127.0.0.1', done))
    return { ca, url: `https://localhost:${(secure.address() as AddressInfo).port}` }
  }
  const folderOf = () => mkdtempSync(join(tmpdir(), 'limb-trust-'))

  test('is invoked when invocation.caFile names it, and only by the name in the certificate', async (context) => {
    skipWithout(context, 'openssl')
    const { ca, url } = await secureLimb(folderOf())
    const at = (where: string, file: string | null) =>
      post(where, [['127.0.0.1']], '127.0.0.1', ['127.0.0.1'], file)
    expect(await at(url, ca.certFile)).toMatchObject({ outcome: '{"success":true}' })
    expect((await at(url, null)).message).toContain('does not trust')
    expect((await at(url.replace('localhost', 'other'), ca.certFile)).message).toContain('for another name')
  })

  test('is not invoked with a caFile that cannot be used, and the setting is named', async () => {
    const folder = folderOf()
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const empty = join(folder, 'empty.pem')
    writeFileSync(empty, 'nothing')
    for (const file of [empty, join(folder, 'absent.pem')]) {
      const { outcome, message } = await post(
        `https://127.0.0.1:${port}`,
        [],
        '127.0.0.1',
        ['127.0.0.1'],
        file,
      )
      expect([outcome, message]).toEqual([
        'node_offline',
        expect.stringContaining('invocation.caFile: cannot'),
      ])
    }
    expect(await post(`http://127.0.0.1:${port}`, [], '127.0.0.1', ['127.0.0.1'], empty)).toMatchObject({
      outcome: '{"success":true}',
    })
  })

  test('is invoked when the store of the system has it, without NODE_EXTRA_CA_CERTS', async (context) => {
    skipWithout(context, 'openssl')
    const { ca, url } = await secureLimb(folderOf())
    const program = `
      import { createHttpLimbClient } from './src/http/limb-client/client.ts'
      import { systemClock } from './src/kernel/clock.ts'
      const client = createHttpLimbClient({ clock: systemClock, networks: () => ['127.0.0.1'], lookup: async () => [{ address: '127.0.0.1' }] })
      const call = { nodeId: 'r1', endpointUrl: '${url}', address: '127.0.0.1', secret: 's', body: Buffer.from('{}') }
      client.post(call, (outcome, why) => console.log(why ?? outcome.message ?? Buffer.from(outcome).toString()))`
    const run = async (env: Record<string, string>) => {
      const args = ['--input-type=module', '--eval', program]
      return (await promisify(execFile)(process.execPath, args, { env })).stdout.trim()
    }
    expect(await run({ SSL_CERT_FILE: ca.certFile })).toBe('{"success":true}')
    expect(await run({})).toContain('does not trust')
  })
})

describe('a limb that was reached and does not answer in HTTP', () => {
  /** What the bridge says of a server that does this with the connection, once a request has come on it. */
  async function refusalOf(answer: (socket: Socket) => void): Promise<string> {
    let closed = () => {}
    const gone = new Promise<void>((done) => {
      closed = done
    })
    const raw = createRawServer((socket) => {
      socket.on('error', () => {})
      socket.once('close', closed)
      socket.once('data', () => answer(socket))
    })
    onTestFinished(() => void raw.close())
    await new Promise<void>((done) => raw.listen(0, '127.0.0.1', done))
    const { outcome, message } = await post(`http://127.0.0.1:${(raw.address() as AddressInfo).port}`, [])
    // What comes late on the connection comes before its end: no error of it may be left to nobody.
    await gone
    expect([outcome, message]).toEqual(['node_error', expect.stringMatching(/^r1 [^\n]+$/)])
    return message
  }

  const OK = 'HTTP/1.1 200 OK\r\n'
  const RESULT = '{"success":true}'

  test.each<[string, string | Buffer, RegExp]>([
    ['bytes of something else', Buffer.from([0, 1, 2, 255, 254, 10, 13]), /not HTTP.*serve HTTP\/1\.1 there/],
    ['the greeting of another protocol', 'SSH-2.0-OpenSSH_9.6\r\n', /not HTTP.*register the endpointUrl/],
    ['another version of HTTP', 'HTTP/9.9 200 OK\r\n\r\n', /not HTTP/],
    ['a status that is no number', 'HTTP/1.1 fine\r\n\r\n', /not HTTP/],
    ['a TLS alert', Buffer.from([0x15, 3, 1, 0, 2, 2, 0x46]), /in TLS.*https:\/\/ endpointUrl/],
    ['headers without an end', `${OK}x: ${'x'.repeat(40_000)}`, /more than 16384 bytes of headers.*fewer/],
    ['a header that is none', `${OK}a header\r\n\r\n`, /not HTTP/],
    ['a Content-Length that is no number', `${OK}content-length: all\r\n\r\n`, /wrong Content-Length/],
    [
      'two different Content-Lengths',
      `${OK}content-length: 16\r\ncontent-length: 17\r\n\r\n${RESULT}`,
      /wrong Content-Length/,
    ],
    [
      'a Content-Length beside chunks',
      `${OK}transfer-encoding: chunked\r\ncontent-length: 16\r\n\r\n`,
      /Content-Length/,
    ],
    ['more than its Content-Length', `${OK}content-length: 9\r\n\r\n${RESULT}`, /more than.*9 bytes/],
    [
      'more than its last',
      `${OK}connection: close\r\ncontent-length: 9\r\n\r\n${RESULT}`,
      /more than.*9 bytes/,
    ],
    ['chunks that are none', `${OK}transfer-encoding: chunked\r\n\r\nzz\r\n`, /not HTTP/],
  ])('but sends %s is told what it did', async (_what, bytes, text) => {
    const message = await refusalOf((socket) => socket.write(bytes))
    expect(message).toMatch(text)
    expect(message).toContain('; whether the command ran is not known')
  })

  test.each([
    ['that wants another protocol', 'HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n', '101'],
    ['of another status', 'HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n', '404'],
  ])('but with an answer %s is told so at once', async (_what, bytes, status) => {
    expect(await refusalOf((socket) => socket.write(bytes))).toMatch(
      new RegExp(`^r1 answered ${status} .*must answer 200`),
    )
  })

  const failed = (headers: string, body: string) =>
    `HTTP/1.1 500 No\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`

  test.each<[string, string, RegExp]>([
    ['a failed result', failed('', '{"success": false, "error": "lens broken"}'), /: "lens broken"; it must/],
    ['an object with a message', failed('', '{"error":{"message":"too hot"}}'), /: "too hot";/],
    ['a detail', failed('', '{"detail":"no film"}'), /: "no film";/],
    ['plain text of two lines', failed('', 'no\n film'), /: "no film";/],
    ['what a terminal obeys', failed('', '{"error":"\\u001b[2Jx"}'), /: "\\\\x1b\[2Jx";/],
    ['more than is shown', failed('', 'x'.repeat(20_000)), /: "x{500}";/],
    ['a page for browsers', failed('content-type: text/html\r\n', '<h1>no</h1>'), /:\d+; it must/],
    ['a body that does not end', 'HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\nno film', /: "no film";/],
    [
      'the reason of a refused signature',
      failed('', '{"error":"clock is off"}').replace('500', '401'),
      /\(401\): "clock is off"; its clock/,
    ],
  ])('but answers an error status with %s is told its reason', async (_what, bytes, text) => {
    const message = await refusalOf((socket) => socket.write(bytes))
    expect(message).toMatch(text)
    expect(message).toMatch(/500|401/)
    expect(message.length).toBeLessThan(700)
  })

  test('but answers an error status in the letters of its own machine is read in them', async () => {
    const answer = failed('content-type: text/plain; charset=iso-8859-1\r\n', 'zu heiß')
    const message = await refusalOf((socket) => socket.write(Buffer.from(answer, 'latin1')))
    expect(message).toContain(': "zu heiß";')
    const unknown = failed('content-type: text/plain; charset=none-such\r\n', 'too hot')
    expect(await refusalOf((socket) => socket.write(unknown))).toContain(': "too hot";')
  })

  test('but closes the connection within the body of an error status is told the status and what came', async () => {
    expect(
      await refusalOf((socket) => socket.end('HTTP/1.1 503 No\r\ncontent-length: 99\r\n\r\nbusy')),
    ).toMatch(/^r1 answered 503 at [^;]+: "busy"; it must answer 200/)
  })

  test.each<[string, string, RegExp]>([
    ['before its answer', '', /without a whole answer.*its program may have failed/],
    ['within its headers', `${OK}content-`, /without a whole answer/],
    ['before the end of its body', `${OK}content-length: 99\r\n\r\n{"succ`, /after 6 of the 99 bytes/],
    [
      'before its last chunk',
      `${OK}transfer-encoding: chunked\r\n\r\n4\r\n{"su\r\n`,
      /after 4 bytes of an answer without an end/,
    ],
  ])('but closes the connection %s is told so', async (_when, bytes, text) => {
    expect(await refusalOf((socket) => socket.end(bytes))).toMatch(text)
    const reset = (socket: Socket) => {
      if (bytes === '') socket.resetAndDestroy()
      else socket.write(bytes, () => socket.resetAndDestroy())
    }
    expect(await refusalOf(reset)).toContain('closed the connection')
  })

  test.each([
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'wants a client certificate'],
    ['ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', 'broke the TLS connection'],
    ['ETIMEDOUT', 'was cut off'],
  ])('but ends the connection with %s is told what that means', (code, text) => {
    const message = brokenAnswer('limb.test', Object.assign(new Error('deps/openssl'), { code }), undefined)
    expect(message).toContain(text)
    expect(message).not.toContain('openssl')
  })
})

test('networks hold addresses of their family, also those in the clothes of the other', () => {
  const allowed = networksOf(['192.168.0.0/16', 'fd00::/8', '10.1.2.3'])
  const inside = ['192.168.7.1', '::ffff:192.168.7.1', 'fd12::1', '10.1.2.3']
  const outside = ['192.169.0.1', '::ffff:10.0.0.1', 'fe80::1', '10.1.2.4', 'limb.test', '']
  expect(inside.filter((address) => !allowed.has(address))).toEqual([])
  expect(outside.filter((address) => allowed.has(address))).toEqual([])
})
