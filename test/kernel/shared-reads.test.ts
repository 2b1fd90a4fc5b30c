import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { keepFewChunks, MAX_WAITING_CHUNKS } from '../../src/kernel/few-chunks.ts'
import { ownBytes, shareReads } from '../../src/kernel/shared-reads.ts'

interface Pair {
  readonly accepted: Socket
  readonly client: Socket
}

/** An accepted socket and its peer. */
async function pair(): Promise<Pair> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').setNoDelay(true)
  const [accepted] = (await once(server, 'connection')) as [Socket]
  server.close()
  onTestFinished(() => {
    client.destroy()
    accepted.destroy()
  })
  return { accepted, client }
}

/** Sends a text, and waits until it has come. */
async function say({ accepted, client }: Pair, text: string): Promise<void> {
  const before = accepted.bytesRead
  client.write(text)
  while (accepted.bytesRead < before + text.length) await nextTurn()
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

test('what sockets read stands in memory of its own, and stays when the next one reads', async () => {
  const [one, two] = [await pair(), await pair()]
  const chunks: Buffer[] = []
  for (const { accepted } of [one, two]) {
    expect(shareReads(accepted)).toBe(true)
    accepted.on('data', (chunk) => chunks.push(chunk))
  }
  await say(one, 'first')
  await say(two, 'second')
  await say(one, 'third one')
  expect(chunks.map(String)).toEqual(['first', 'second', 'third one'])
  for (const { buffer, length } of chunks) expect(buffer.byteLength).toBe(length)
})

test('a chunk that is lent is written over by the next read, and who keeps it has bytes of its own', async () => {
  const [one, two] = [await pair(), await pair()]
  const lent: Buffer[] = []
  const kept: Buffer[] = []
  for (const { accepted } of [one, two]) {
    shareReads(accepted, { copies: () => true })
    accepted.push = (chunk: Buffer) => {
      lent.push(chunk)
      kept.push(ownBytes(chunk))
      return true
    }
    accepted.resume()
  }
  await say(one, 'first')
  await say(two, 'other')
  expect(lent.map(String)).toEqual(['other', 'other'])
  expect(kept.map(String)).toEqual(['first', 'other'])
  const own = Buffer.from('own')
  expect(ownBytes(own)).toBe(own)
})

test('a socket that nobody reads is read no further, whoever looks at it', async () => {
  const { accepted, client } = await pair()
  shareReads(accepted)
  accepted.on('readable', () => undefined)
  client.write(Buffer.alloc(4 * 1024 * 1024))
  while (accepted.readableLength < accepted.readableHighWaterMark) await nextTurn()
  const before = accepted.readableLength
  for (let i = 0; i < 20; i++) {
    accepted.read(0)
    await nextTurn()
  }
  expect(accepted.readableLength).toBe(before)
})

test('single bytes that nobody reads are as few chunks as without it', async () => {
  const both = await pair()
  shareReads(both.accepted)
  keepFewChunks(both.accepted)
  both.accepted.on('readable', () => undefined)
  for (let i = 0; i < MAX_WAITING_CHUNKS; i++) await say(both, 'x')
  both.client.write('y'.repeat(1000))
  for (let i = 0; i < 20; i++) await nextTurn()
  expect(both.accepted.readableLength).toBe(MAX_WAITING_CHUNKS)
  let text = ''
  while (text.length < MAX_WAITING_CHUNKS + 1000) {
    text += both.accepted.read() ?? ''
    await nextTurn()
  }
  expect(text).toBe('x'.repeat(MAX_WAITING_CHUNKS) + 'y'.repeat(1000))
})

test('who stands before a socket already stays there, and all that waited is read', async () => {
  const both = await pair()
  keepFewChunks(both.accepted)
  expect(shareReads(both.accepted)).toBe(false)
  let bytes = 0
  both.accepted.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  both.accepted.pause()
  for (let i = 0; i < MAX_WAITING_CHUNKS; i++) await say(both, 'x')
  both.client.write('behind')
  both.accepted.resume()
  while (bytes < MAX_WAITING_CHUNKS + 'behind'.length) await nextTurn()
})

test('a pause holds the next chunk back, and the end comes behind the last one', async () => {
  const both = await pair()
  const { accepted, client } = both
  shareReads(accepted)
  let text = ''
  accepted.on('data', (chunk) => {
    text += chunk
  })
  await say(both, 'one')
  accepted.pause()
  client.end('two')
  for (let i = 0; i < 20; i++) await nextTurn()
  expect(text).toBe('one')
  const ended = once(accepted, 'end')
  accepted.resume()
  await ended
  expect(text).toBe('onetwo')
})

test('a peer that cuts its connection ends it, and another socket reads on', async () => {
  const [one, two] = [await pair(), await pair()]
  for (const { accepted } of [one, two]) shareReads(accepted)
  one.accepted.on('error', () => undefined).resume()
  const closed = new Promise((resolve) => one.accepted.once('close', resolve))
  await say(one, 'begun')
  one.client.resetAndDestroy()
  await closed
  const heard = once(two.accepted, 'data')
  two.client.write('still here')
  expect(String((await heard)[0])).toBe('still here')
})

test('a stream that is no socket is read as before', () => {
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const { read, push } = stream
  expect(shareReads(stream)).toBe(false)
  expect([stream.read, stream.push]).toEqual([read, push])
})
