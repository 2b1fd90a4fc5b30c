import { Readable, type Writable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { MqttStore } from '../../bridge/mqtt-store.ts'
import type { RetainedView } from '../../bridge/ports.ts'
import { filterMatches } from '../../protocol/topics.ts'
import { type PublishPacket, retainedPacket } from './packets.ts'

/** Topics read at once; the payloads follow one by one, as the subscriber takes them. */
const PAGE = 256
/** Messages to one subscriber before others get their turn of the event loop. */
const SLICE = 64

/**
 * A stream that is never ahead of its reader. Aedes pipes retained messages into a buffer of 16; meanwhile a
 * status may change and its live message leave first, and then the older one would arrive last and stay. So the
 * next message is made only when the one before has been handed on.
 */
export class RetainedStream extends Readable {
  readonly #source: AsyncIterator<PublishPacket>

  constructor(source: AsyncIterable<PublishPacket>) {
    super({ objectMode: true })
    this.#source = source[Symbol.asyncIterator]()
  }

  override _read(): void {
    this.#source.next().then(
      ({ done, value }) => this.push(done ? null : value),
      (error: Error) => this.destroy(error),
    )
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    void this.#source.return?.()
    done(error)
  }

  override pipe<T extends NodeJS.WritableStream>(destination: T): T {
    void this.#feed(destination as unknown as Writable)
    return destination
  }

  async #feed(destination: Writable): Promise<void> {
    try {
      for (let sent = 1; !destination.destroyed; sent++) {
        const { done, value } = await this.#source.next()
        if (done) break
        await new Promise<unknown>((resolve) => destination.write(value, resolve))
        if (sent % SLICE === 0) await nextTurn()
      }
      destination.end()
      this.destroy()
    } catch (error) {
      this.destroy(error as Error)
    }
  }
}

/** Retained messages that match any of `filters`: the bridge's own from the view, all others from the store. */
export async function* matchRetained(
  store: MqttStore,
  view: RetainedView,
  filters: readonly string[],
): AsyncGenerator<PublishPacket> {
  for (const filter of filters) {
    for (const { topic, payload } of view.match(filter)) {
      yield {
        cmd: 'publish',
        topic,
        payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
        qos: 1,
        retain: true,
      }
    }
    for await (const topic of storedTopics(store, filter)) {
      if (view.owns(topic)) continue
      const message = await store.retained(topic)
      if (message !== null) yield retainedPacket(message)
    }
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
