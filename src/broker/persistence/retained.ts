import { setImmediate as nextTurn } from 'node:timers/promises'
import type { MqttStore } from '../../bridge/mqtt-store.ts'
import type { RetainedView } from '../../bridge/ports.ts'
import { filterMatches } from '../../protocol/topics.ts'
import type { Portion } from '../aedes-internals.ts'
import { ownRetained, type RetainedPacket, retainedPacket } from './packets.ts'

const NOTHING = Buffer.alloc(0)

/** Topics read at once; the payloads follow one by one, as the subscriber takes them. */
const PAGE = 256

/**
 * Retained messages that match any of `filters`: the bridge's own from the view, all others from the store. They come
 * in portions, so that a fleet's statuses cost no promise each, and each is made when it is taken: a status may change
 * while the reader takes others, and its live message leaves first; an older one behind it would stay.
 */
export async function* matchRetained(
  store: MqttStore,
  view: RetainedView,
  filters: readonly string[],
): AsyncGenerator<Portion<RetainedPacket>> {
  for (const filter of filters) {
    yield ofView(view, filter)
    for await (const topic of storedTopics(store, filter)) {
      if (!view.owns(topic)) yield () => readRetained(store, topic)
    }
  }
}

async function readRetained(store: MqttStore, topic: string): Promise<RetainedPacket | undefined> {
  const message = await store.retained(topic)
  return message === null ? undefined : retainedPacket(message)
}

function* ofView(view: RetainedView, filter: string): Generator<RetainedPacket> {
  let last: Uint8Array | undefined
  let bytes: Buffer = NOTHING
  for (const { topic, payload } of view.match(filter)) {
    // The words of the protocol are shared: one Buffer serves all limbs in a row that have the same status.
    if (payload !== last) bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    last = payload
    yield ownRetained(topic, bytes, 1)
  }
}

async function* storedTopics(store: MqttStore, filter: string): AsyncGenerator<string> {
  const literal = literalLevels(filter)
  if (literal === undefined) {
    yield filter
    return
  }
  // `a/#` matches `a` too [MQTT-4.7.1-2], which lies outside of the range `a/…`.
  const parent = literal.slice(0, -1)
  if (literal !== '' && filterMatches(filter, parent)) yield parent
  for (let after = ''; ; ) {
    const page = await store.retainedTopics(literal, after, PAGE)
    for (const topic of page) {
      if (filterMatches(filter, topic)) yield topic
    }
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    after = last
    // A filter that matches little of what it must look through holds nobody up.
    await nextTurn()
  }
}

/** `a/b/` of `a/b/+/c`: what every match starts with. Undefined: no wildcard. */
function literalLevels(filter: string): string | undefined {
  const wildcard = filter.search(/[+#]/)
  return wildcard < 0 ? undefined : filter.slice(0, filter.lastIndexOf('/', wildcard) + 1)
}
