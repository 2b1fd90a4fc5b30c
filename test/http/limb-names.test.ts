import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { lookupNames, type NamesOptions } from '../../src/http/outbound/names.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { FakeClock } from '../support/fake-clock.ts'

const QUESTION_AT = 12
const TYPE_A = 1

/** The end of the name of a question, behind its last, empty label. */
function endOfName(query: Buffer): number {
  let at = QUESTION_AT
  while ((query[at] ?? 0) > 0) at += (query[at] ?? 0) + 1
  return at + 1
}

function answerTo(query: Buffer, code: number, address: readonly number[]): Buffer {
  const end = endOfName(query)
  const isA = query.readUInt16BE(end) === TYPE_A
  const answers = code === 0 && isA ? 1 : 0
  const header = Buffer.from(query.subarray(0, QUESTION_AT))
  header.writeUInt16BE(0x8180 | code, 2)
  header.writeUInt16BE(answers, 6)
  header.writeUInt32BE(0, 8)
  const record = Buffer.from([0xc0, QUESTION_AT, 0, TYPE_A, 0, 1, 0, 0, 0, 1, 0, 4, ...address])
  return Buffer.concat([header, query.subarray(QUESTION_AT, end + 4), answers ? record : Buffer.alloc(0)])
}

/** A name server that knows `fast…`, has nothing to say about `slow…`, and knows no other name. */
async function nameServer(): Promise<string> {
  const socket = createSocket('udp4')
  onTestFinished(() => void socket.close())
  socket.on('message', (query, { port, address }) => {
    const name = query.toString('latin1', QUESTION_AT + 1, QUESTION_AT + 5)
    if (name === 'slow') return
    socket.send(answerTo(query, name === 'fast' ? 0 : 3, [10, 0, 0, 7]), port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return `127.0.0.1:${socket.address().port}`
}

function hostsFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'limb-names-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'hosts'), text)
  return join(folder, 'hosts')
}

const names = (options: Partial<NamesOptions> = {}) =>
  lookupNames({
    clock: systemClock,
    hostsFile: '/nowhere',
    system: () => Promise.reject(new Error('not asked')),
    ...options,
  })

test('twenty names that nobody answers for take no other with them', async () => {
  const lookup = names({ servers: [await nameServer()] })
  const slow = Array.from({ length: 20 }, (_, i) => lookup(`slow${i}.test`).catch(() => 'gone'))
  expect(await lookup('fast.test')).toEqual([{ address: '10.0.0.7' }])
  expect(await Promise.race([...slow, 'under way'])).toBe('under way')
  await Promise.all(slow)
})

test('the file of hosts is asked first, and the system last, for what no name server knows', async () => {
  const asked: string[] = []
  const lookup = names({
    servers: [await nameServer()],
    hostsFile: hostsFile(
      '# fast.test 1.2.3.4\n10.0.0.8  plug Fast.test # 1.1.1.1\n::8 fast.test\nx fast.test\n',
    ),
    system: async (host) => {
      asked.push(host)
      return [{ address: '10.0.0.9' }]
    },
  })
  expect(await lookup('fast.test')).toEqual([{ address: '10.0.0.8' }, { address: '::8' }])
  expect(await lookup('plug')).toEqual([{ address: '10.0.0.8' }])
  expect(asked).toEqual([])
  for (const host of ['unknown.test', 'cam.local', 'cam'])
    expect(await lookup(host)).toEqual([{ address: '10.0.0.9' }])
  expect(asked).toEqual(['unknown.test', 'cam.local', 'cam'])
})

test("the system's look-ups hold two threads at most, and a name that was slow none for a minute", async () => {
  const clock = new FakeClock()
  const under = new Map<string, (found: { address: string }[]) => void>()
  const lookup = names({
    clock,
    system: (host) => new Promise((done) => under.set(host, done)),
  })
  const results = ['a', 'b', 'c'].map((host) => lookup(`${host}.local`))
  // The file of hosts is read for each of them, in any order.
  await expect.poll(() => under.size).toBe(2)
  const [first = '', second = ''] = under.keys()
  clock.advance(2000)
  under.get(first)?.([{ address: '10.0.0.1' }])
  expect(await Promise.race(results)).toEqual([{ address: '10.0.0.1' }])
  await expect.poll(() => under.size).toBe(3)
  const third = [...under.keys()].find((host) => host !== first && host !== second) ?? ''
  await expect(lookup(first)).rejects.toThrow('too slowly')
  clock.advance(60_000)
  under.get(second)?.([])
  under.get(third)?.([])
  await Promise.all(results)
  under.clear()
  const again = lookup(first)
  await expect.poll(() => under.has(first)).toBe(true)
  under.get(first)?.([{ address: '10.0.0.2' }])
  expect(await again).toEqual([{ address: '10.0.0.2' }])
})
