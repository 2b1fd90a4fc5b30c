import { PassThrough } from 'node:stream'
import type { Clock } from '../../kernel/clock.ts'
import type { Input } from '../context.ts'

/**
 * Standard input between a client and the SDK. The SDK ends with the input, gives up what it was asked, and says
 * nothing to a line that is no message: here the end of the input is kept from it until the requests are answered, and
 * such a line is answered.
 */

/** The bound of a line, below the SDK's own, at which it ends without a word. */
const MAX_LINE_BYTES = 10_000_000
/** The time after the end of the input in which nothing happens until the server ends all the same. */
const QUIET_MS = 10_000
const LINE_FEED = 0x0a

const PARSE_ERROR = -32_700
const INVALID_REQUEST = -32_600

type MessageId = string | number

interface JsonRpcError {
  readonly jsonrpc: '2.0'
  readonly id: null
  readonly error: { readonly code: number; readonly message: string }
}

export class StdinMessages {
  /** The stream that the SDK reads: whole lines, each the JSON of an object. */
  readonly forSdk = new PassThrough()
  readonly #clock: Clock
  readonly #refuse: (error: JsonRpcError) => void
  readonly #open = new Set<MessageId>()
  #parts: Buffer[] = []
  #bytes = 0
  #ended = false
  #cancelTimer = () => {}
  #finish = () => {}
  /** Hears of the resources that a client of the newer protocol listens to: the SDK keeps that to itself. */
  onListen: (uris: readonly unknown[]) => void = () => {}
  /** Resolves when the input has ended, and what was asked is answered or nothing more happens. */
  readonly finished = new Promise<void>((resolve) => {
    this.#finish = resolve
  })

  constructor(stdin: Input, clock: Clock, refuse: (error: JsonRpcError) => void) {
    this.#clock = clock
    this.#refuse = refuse
    stdin.on('data', (chunk: Buffer | string) => this.#received(Buffer.from(chunk)))
    stdin.on('error', () => this.end())
    stdin.once('end', () => this.end())
    stdin.once('close', () => this.end())
  }

  /** A response to this request was written. */
  answered(id: unknown): void {
    this.#open.delete(id as MessageId)
    if (this.#ended) this.#settle()
  }

  #received(chunk: Buffer): void {
    let start = 0
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, start)) {
      this.#keep(chunk.subarray(start, at))
      this.#lineEnded()
      start = at + 1
    }
    this.#keep(chunk.subarray(start))
  }

  /** Keeps a part of a line; of a line above the bound only its length. */
  #keep(part: Buffer): void {
    this.#bytes += part.length
    if (this.#bytes > MAX_LINE_BYTES) this.#parts = []
    else if (part.length > 0) this.#parts.push(part)
  }

  #lineEnded(): void {
    const tooLong = this.#bytes > MAX_LINE_BYTES
    const line = Buffer.concat(this.#parts)
    this.#parts = []
    this.#bytes = 0
    if (tooLong) this.#refuse(errorOf(INVALID_REQUEST, `a message has at most ${MAX_LINE_BYTES} bytes`))
    else if (line.toString('utf8').trim() !== '') this.#line(line)
  }

  #line(line: Buffer): void {
    const message = parsed(line)
    if (message === undefined) {
      this.#refuse(errorOf(PARSE_ERROR, 'this line is not JSON; each message is one line of JSON'))
      return
    }
    if (Array.isArray(message)) {
      this.#refuse(
        errorOf(INVALID_REQUEST, 'batches are not part of MCP; send each message on a line of its own'),
      )
      return
    }
    if (!isMessage(message)) {
      this.#refuse(
        errorOf(
          INVALID_REQUEST,
          'this is no JSON-RPC 2.0 message: an object with `jsonrpc: "2.0"` and a `method`',
        ),
      )
      return
    }
    this.#follow(message)
    this.forSdk.write(Buffer.concat([line, Buffer.from('\n')]))
  }

  #follow({ id, method, params }: Message): void {
    if (method === undefined) return
    if (typeof id === 'string' || typeof id === 'number') this.#open.add(id)
    // What is cancelled gets no answer.
    if (method === 'notifications/cancelled') this.#open.delete(params?.requestId as MessageId)
    const uris = params?.notifications?.resourceSubscriptions
    if (method === 'subscriptions/listen' && Array.isArray(uris)) this.onListen(uris)
  }

  /** Ends: no more is taken. */
  end(): void {
    if (this.#ended) return
    // A last line may lack its line feed.
    this.#lineEnded()
    this.#ended = true
    this.#settle()
  }

  #settle(): void {
    this.#cancelTimer()
    if (this.#open.size === 0) this.#finish()
    else this.#cancelTimer = this.#clock.after(QUIET_MS, this.#finish)
  }
}

interface Message {
  readonly jsonrpc: '2.0'
  readonly id?: unknown
  readonly method?: string
  readonly params?: {
    readonly requestId?: unknown
    readonly notifications?: { readonly resourceSubscriptions?: unknown } | null
  } | null
}

function isMessage(value: unknown): value is Message {
  if (typeof value !== 'object' || value === null) return false
  if (!('jsonrpc' in value) || value.jsonrpc !== '2.0') return false
  return 'method' in value ? typeof value.method === 'string' : 'result' in value || 'error' in value
}

function parsed(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'))
  } catch {
    return undefined
  }
}

function errorOf(code: number, message: string): JsonRpcError {
  return { jsonrpc: '2.0', id: null, error: { code, message } }
}
