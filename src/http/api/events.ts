import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Identity, RetainedMessage } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import type { UnreadBytes, UnreadPlace, UnreadResponse } from '../held-bytes.ts'
import { onceOver } from '../once-over.ts'
import { EVENT_STREAMS, OpenPlaces } from '../open-places.ts'
import { EventLog, type ServerEvent } from './event-log.ts'
import { OpenPace } from './open-pace.ts'
import type { ApiPorts } from './ports.ts'
import { sendProblem } from './problem.ts'

/** A comment this often keeps proxies from ending a quiet connection. */
const HEARTBEAT_MS = 15_000
/** The bytes that a reader may leave unread; beyond, its connection ends, and it comes back with `Last-Event-ID`. */
const MAX_UNREAD_BYTES = 4_194_304

/** Ends the id of a reader who was not told all that is retained yet: when it comes back, it is told all of it anew. */
const BEGUN = '.begun'
/** The time of a turn of the event loop in which streams are sent what is retained. */
const SENDING_MS = 5

/** Serves `GET /api/v1/events`: the retained state as of now, then everything that is published, as it happens. */
export function eventRoutes(app: FastifyInstance, ports: ApiPorts, clock: Clock, unread: UnreadBytes): void {
  const log = new EventLog(ports.topics, ports.feed)
  const places = new OpenPlaces(EVENT_STREAMS)
  const open = new Set<ServerResponse>()
  const pace = new OpenPace(clock)
  const sending = new TurnTime(clock, SENDING_MS)

  app.get('/api/v1/events', async (request, reply) => {
    const identity = request.getDecorator<Identity>('identity')
    const name = identity.kind === 'principal' ? identity.name : ''
    const full = places.full(name, 'event streams')
    if (full !== undefined) return sendProblem(reply, new Refusal('too_many_requests', `${full}; close one`))
    places.enter(name)
    reply.hijack()
    const response = reply.raw
    open.add(response)
    const lastId = request.headers['last-event-id']
    const data = (request.query as { data?: string }).data === 'true'
    if (!(await turnOf(clock, pace.waitMs(name), request, reply))) {
      open.delete(response)
      places.leave(name)
      return
    }
    const stream = new Stream(response, clock, () => ports.isCurrent(identity), { principal: name, unread })
    const stop = log.read((event) => stream.take(event), { data })
    const unwatch = ports.whenEnded(identity, () => response.destroy())
    onceOver(request, reply, () => {
      unwatch()
      stop()
      stream.stop()
      open.delete(response)
      places.leave(name)
    })
    const beginning = { lastId: typeof lastId === 'string' ? lastId : '', data, sending }
    await begin(stream, log, ports, beginning).catch(() => response.destroy())
  })

  app.addHook('preClose', async () => {
    for (const response of open) response.destroy()
  })
}

/** Waits for the turn of a stream. Resolves to false when its client has gone meanwhile. */
async function turnOf(
  clock: Clock,
  waitMs: number,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<boolean> {
  if (waitMs === 0) return true
  return await new Promise((resolve) => {
    const cancel = clock.after(waitMs, () => resolve(true))
    onceOver(request, reply, () => {
      cancel()
      resolve(false)
    })
  })
}

/** Says what a stream begins with. */
interface Beginning {
  /** The id of the event that it has seen last; empty: none. */
  readonly lastId: string
  readonly data: boolean
  /** The time that it shares with all others. */
  readonly sending: TurnTime
}

/** Tells a reader that comes back what it has missed, and what is retained whoever has not had all of it. */
async function begin(
  stream: Stream,
  log: EventLog,
  { view, feed, topics }: ApiPorts,
  { lastId, data, sending }: Beginning,
): Promise<void> {
  const missed = lastId === '' ? undefined : log.since(lastId)
  if (missed === undefined || lastId.endsWith(BEGUN)) {
    const id = missed === undefined ? log.lastId : lastId.slice(0, -BEGUN.length)
    await stream.write(`id: ${id}${BEGUN}\nevent: retained\ndata: {}\n\n`)
    for (const message of view.match(`${topics.prefix}#`)) {
      await send(stream, log, message)
      if (!sending.isLeft) await sending.next()
    }
    if (data)
      for await (const message of feed.retained(`${topics.dataPrefix('+')}#`)) {
        await send(stream, log, message)
        if (!sending.isLeft) await sending.next()
      }
    await stream.write(`id: ${id}\n\n`)
  }
  stream.live(missed ?? [])
}

async function send(stream: Stream, log: EventLog, { topic, payload }: RetainedMessage): Promise<void> {
  const text = log.show({ topic, payload, retain: true })
  if (text !== undefined) await stream.write(text)
}

interface Whose {
  readonly principal: string
  readonly unread: UnreadBytes
}

/** Is one reader. What is published while the retained state goes out waits, within the bound. */
class Stream implements UnreadResponse {
  readonly principal: string
  readonly #unread: UnreadBytes
  readonly #place: UnreadPlace
  readonly #response: ServerResponse
  readonly #stopHeartbeat: () => void
  readonly #isAllowed: () => boolean
  #waiting: ServerEvent[] | undefined = []
  #waitingBytes = 0
  #stopped = false
  /** Ends the waiting for a reader that has gone. */
  readonly #over = new AbortController()

  constructor(
    response: ServerResponse,
    clock: Clock,
    isAllowed: () => boolean,
    { principal, unread }: Whose,
  ) {
    this.principal = principal
    this.#unread = unread
    this.#place = unread.enter(this)
    this.#response = response
    this.#isAllowed = isAllowed
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-accel-buffering': 'no',
    })
    response.write('retry: 2000\n\n')
    let cancel = () => {}
    const beat = () => {
      if (!this.#isAllowed()) this.#response.destroy()
      else if (this.#waiting === undefined) this.#response.write(': alive\n\n')
      cancel = clock.after(HEARTBEAT_MS, beat)
    }
    cancel = clock.after(HEARTBEAT_MS, beat)
    this.#stopHeartbeat = () => cancel()
  }

  take(event: ServerEvent): void {
    if (this.#stopped) return
    if (this.#waiting === undefined) {
      this.#send(event)
      return
    }
    this.#waiting.push(event)
    this.#waitingBytes += event.text.length
    this.#place.changed()
    if (this.#waitingBytes > MAX_UNREAD_BYTES) this.#unread.end(this)
  }

  measure(): number {
    return this.#response.writableLength + this.#waitingBytes
  }

  end(): void {
    this.#response.destroy()
  }

  /** Resolves when the socket takes more. */
  async write(text: string): Promise<void> {
    if (this.#stopped) throw new Error('the reader has gone')
    if (!this.#isAllowed()) throw new Error('the reader may not read any more')
    if (this.#response.write(text)) return
    const { signal } = this.#over
    await once(this.#response, 'drain', { signal })
  }

  /** Sends events as they come from now on; first those that `missed` holds, then those that have waited. */
  live(missed: readonly ServerEvent[]): void {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    this.#waitingBytes = 0
    const newest = missed.at(-1)?.seq ?? 0
    for (const event of missed) this.#send(event)
    for (const event of waiting) if (event.seq === undefined || event.seq > newest) this.#send(event)
  }

  stop(): void {
    this.#stopped = true
    this.#waiting = []
    this.#waitingBytes = 0
    this.#place.leave()
    this.#over.abort()
    this.#stopHeartbeat()
  }

  #send({ text }: ServerEvent): void {
    if (this.#stopped) return
    // Its token, password or role has ended since.
    if (!this.#isAllowed()) {
      this.#response.destroy()
      return
    }
    this.#response.write(text)
    this.#place.changed()
    if (this.#response.writableLength > MAX_UNREAD_BYTES) this.#unread.end(this)
  }
}
