import { expect, test } from 'vitest'
import type { Feed, PublishedMessage } from '../../../src/bridge/ports.ts'
import { EventLog } from '../../../src/http/api/event-log.ts'
import { topicsOf } from '../../../src/protocol/topics.ts'

test('what happened while the only reader was away is there for it, though nothing had happened before', () => {
  const topics = topicsOf('limb')
  let publish = (_message: PublishedMessage) => {}
  const feed = {
    listen: (listener: (message: PublishedMessage) => void) => {
      publish = listener
    },
  } as unknown as Feed
  const log = new EventLog(topics, feed)
  log.read(() => undefined, { data: false })()
  const seen = log.lastId
  const message = { topic: topics.node('cam1', 'status'), payload: Buffer.from('offline'), retain: true }
  publish(message as unknown as PublishedMessage)
  expect(log.since(seen)?.map(({ text }) => text)).toEqual([expect.stringContaining('offline')])
  expect(log.since(log.lastId)).toEqual([])
})
