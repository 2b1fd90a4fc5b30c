import { expect, onTestFinished, test, vi } from 'vitest'
import type { Feed, PublishedMessage } from '../../../src/bridge/ports.ts'
import { EventLog } from '../../../src/http/api/event-log.ts'
import { topicsOf } from '../../../src/protocol/topics.ts'

function newLog() {
  const topics = topicsOf('limb')
  let publish = (_message: PublishedMessage) => {}
  const feed = {
    listen: (listener: (message: PublishedMessage) => void) => {
      publish = listener
    },
  } as unknown as Feed
  const log = new EventLog(topics, feed)
  log.read(() => undefined, { data: false })()
  const says = (text: string) =>
    publish({ topic: topics.node('cam1', 'status'), payload: Buffer.from(text), retain: true } as never)
  return { log, says }
}

test('two thousand events, and a mebibyte of them, are kept for readers that come back', () => {
  const { log, says } = newLog()
  const first = log.lastId
  for (let i = 0; i < 2000; i++) says('x')
  expect(log.since(first)).toHaveLength(2000)
  says('x')
  expect(log.since(first)).toBeUndefined()
  const before = log.lastId
  for (let i = 0; i < 20; i++) says('y'.repeat(65_536))
  expect(log.since(before)).toBeUndefined()
  const last = log.lastId
  says('z')
  expect(log.since(last)).toHaveLength(1)
})

test('what happened while the only reader was away is there for it, though nothing had happened before', () => {
  const { log, says } = newLog()
  const seen = log.lastId
  says('offline')
  expect(log.since(seen)?.map(({ text }) => text)).toEqual([expect.stringContaining('offline')])
  expect(log.since(log.lastId)).toEqual([])
})

/** What a reader is sent of a payload of a limb. */
function shownOf(payload: string | Uint8Array): string {
  const topics = topicsOf('limb')
  const log = new EventLog(topics, { listen: () => undefined } as unknown as Feed)
  const topic = `${topics.dataPrefix('cam1')}t`
  return log.show({ topic, payload: Buffer.from(payload as string), retain: false }) ?? ''
}
const dataOf = (event: string) =>
  JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? '') as Record<string, unknown>

test('JSON is shown as it is, also over several lines; other text as text, other bytes as base64, nothing as null', () => {
  expect(dataOf(shownOf('{"a": [1, "é"]}')).payload).toEqual({ a: [1, 'é'] })
  const lines = shownOf('{\r\n"a":\n1}\n')
  expect(lines.split('\n').filter((line) => line !== '')).toHaveLength(2)
  expect(dataOf(lines)).toEqual({ topic: 'limb/node/cam1/data/t', retain: false, payload: { a: 1 } })
  expect(dataOf(shownOf('{"a"\n')).payload).toBe('{"a"\n')
  expect(dataOf(shownOf(Buffer.from([0xff, 0xfe]))).payloadBase64).toBe('//4=')
  expect(dataOf(shownOf('')).payload).toBeNull()
})

test('JSON that is nested too deep to be written anew is shown all the same', () => {
  const deep = '['.repeat(200_000) + ']'.repeat(200_000)
  expect(() => JSON.stringify(JSON.parse(deep))).toThrow(RangeError)
  expect(shownOf(deep)).toContain(deep)
})

test('JSON of a limb is shown without making values of it: a megabyte of empty lists would be a long turn', () => {
  const parse = vi.spyOn(JSON, 'parse')
  onTestFinished(() => parse.mockRestore())
  const dense = `[${'[[]],'.repeat(1000)}1]`
  expect(shownOf(dense)).toContain(dense)
  expect(parse).not.toHaveBeenCalled()
})
