import { scrypt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test, vi } from 'vitest'
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

/**
 * A name server that knows `fast…`, `late…` after a second and a half, and of `only…` one family alone; it has nothing to
 * say about `slow…`, and knows no other name.
 */
async function nameServer(): Promise<string> {
  const socket = createSocket('udp4')
  const late: NodeJS.Timeout[] = []
  onTestFinished(() => {
    for (const timer of late) clearTimeout(timer)
    socket.close()
  })
  socket.on('message', (query, { port, address }) => {
    const name = query.toString('latin1', QUESTION_AT + 1, QUESTION_AT + 5)
    const isA = query.readUInt16BE(endOfName(query)) === TYPE_A
    if (name === 'slow' || (name === 'only' && !isA)) return
    const answer = answerTo(query, ['fast', 'late', 'only'].includes(name) ? 0 : 3, [10, 0, 0, 7])
    if (name !== 'late') socket.send(answer, port, address)
    else late.push(setTimeout(() => socket.send(answer, port, address), 1500))
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

test('a name server that takes its time is heard, after many that were quick too', async () => {
  const lookup = names({ servers: [await nameServer()] })
  for (let i = 0; i < 5; i++) await lookup(`fast${i}.test`)
  expect(await lookup('late.test')).toEqual([{ address: '10.0.0.7' }])
})

test('a family of addresses that no server answers for holds up the other one a quarter of a second', async () => {
  const clock = new FakeClock()
  const lookup = names({ servers: [await nameServer()], clock })
  const began = clock.monotonicMs()
  const found = lookup('only.test')
  await expect
    .poll(() => {
      clock.advance(250)
      return Promise.race([found, undefined])
    })
    .toEqual([{ address: '10.0.0.7' }])
  // Far less than the time of a question.
  expect(clock.monotonicMs() - began).toBeLessThan(8000)
})

test('a name server that is away holds up no name that another one knows', async () => {
  const away = createSocket('udp4')
  onTestFinished(() => void away.close())
  away.bind(0, '127.0.0.1')
  await once(away, 'listening')
  const lookup = names({ servers: [`127.0.0.1:${away.address().port}`, await nameServer()] })
  expect(await lookup('fast.test')).toEqual([{ address: '10.0.0.7' }])
})

test('the system is asked for sixteen names at once, and for a name that was slow not for a minute', async () => {
  const clock = new FakeClock()
  const under = new Map<string, (found: { address: string }[]) => void>()
  const lookup = names({
    clock,
    system: (host) => new Promise((done) => under.set(host, done)),
  })
  const results = Array.from({ length: 17 }, (_, i) => lookup(`n${i}.local`))
  // The file of hosts is read for each of them, in any order.
  await expect.poll(() => under.size).toBe(16)
  const [first = ''] = under.keys()
  clock.advance(2000)
  under.get(first)?.([{ address: '10.0.0.1' }])
  expect(await Promise.race(results)).toEqual([{ address: '10.0.0.1' }])
  await expect.poll(() => under.size).toBe(17)
  const last = [...under.keys()].at(-1) ?? ''
  under.get(last)?.([])
  clock.advance(10_000)
  await expect(lookup(first)).rejects.toThrow('too slowly')
  clock.advance(60_000)
  for (const done of under.values()) done([])
  await Promise.all(results)
  under.clear()
  const again = lookup(first)
  await expect.poll(() => under.has(first)).toBe(true)
  under.get(first)?.([{ address: '10.0.0.2' }])
  expect(await again).toEqual([{ address: '10.0.0.2' }])
  // It was quick this time: it is known for ten seconds, and then asked for anew.
  under.clear()
  expect(await lookup(first)).toEqual([{ address: '10.0.0.2' }])
  expect(under.size).toBe(0)
  clock.advance(10_000)
  const anew = lookup(first)
  await expect.poll(() => under.has(first)).toBe(true)
  under.get(first)?.([])
  await anew
})

/** Puts a program in the place of getent that knows `quick`, knows nobody else, and never ends for `stuck…`. */
function pretendGetent(): void {
  const folder = mkdtempSync(join(tmpdir(), 'limb-getent-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const words = [
    'case "$2" in',
    'stuck*) exec sleep 60 ;;',
    'quick*) echo "10.0.0.5  STREAM quick"; echo "10.0.0.5  DGRAM"; echo "::5  STREAM"; env > "$0.env" ;;',
    '*) exit 2 ;;',
    'esac',
  ]
  writeFileSync(join(folder, 'getent'), ['#!/bin/sh', ...words].join('\n'), { mode: 0o755 })
  vi.stubEnv('PATH', `${folder}:${process.env.PATH}`)
  vi.stubEnv('LIMB_PASSWORD', 'a secret')
  onTestFinished(() => void vi.unstubAllEnvs())
  getent = join(folder, 'getent')
}
let getent = ''

test('eight names that the system never finds take neither a ninth with them nor files and passwords', async () => {
  pretendGetent()
  const lookup = lookupNames({ clock: systemClock, hostsFile: '/nowhere' })
  const stuck = Array.from({ length: 8 }, (_, i) => lookup(`stuck${i}`).catch(() => 'gone'))
  expect(await lookup('quick')).toEqual([{ address: '10.0.0.5' }, { address: '::5' }])
  const work = Array.from({ length: 4 }, (_, i) => promisify(scrypt)(`${i}`, 'salt', 16))
  await Promise.all([...work, readFile(getent)])
  expect(await Promise.race([...stuck, 'under way'])).toBe('under way')
  // What the program may know of this process is little.
  expect(await readFile(`${getent}.env`, 'utf8')).not.toContain('a secret')
  await expect(lookup('nobody')).rejects.toMatchObject({ code: 'ENOTFOUND' })
  await expect(lookup('-x')).rejects.toMatchObject({ code: 'ENOTFOUND' })
  expect(await Promise.all(stuck)).toEqual(stuck.map(() => 'gone'))
})

test('without that program the system itself looks names up', async () => {
  vi.stubEnv('PATH', '/nowhere')
  onTestFinished(() => void vi.unstubAllEnvs())
  const lookup = lookupNames({ clock: systemClock, hostsFile: '/nowhere' })
  expect(await lookup('localhost')).toContainEqual(expect.objectContaining({ address: '127.0.0.1' }))
})
