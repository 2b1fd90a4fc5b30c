import type { ErrorBody } from '../../src/kernel/errors.ts'
import { connectRaw, type RawClient } from './raw-client.ts'

/** The response to a verb, as it came over the wire. */
export type Answer = { ok: true; data: Record<string, unknown> } | { ok: false; error: ErrorBody }

/** Speaks verbs to the bridge as the local administrator, over the control socket. */
export class ControlClient {
  readonly client: RawClient
  readonly #name: string
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #transactions = 0

  constructor(client: RawClient, name: string) {
    this.client = client
    this.#name = name
    client.onMessage = (_topic, payload) => this.#answer(payload)
  }

  /** Rejects when the connection ends before the response has come: then nobody knows. */
  async ask(verb: string, args: object = {}): Promise<Answer> {
    const transaction = ++this.#transactions
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(transaction, resolve))
    const lost = this.client.closed.then(() => {
      this.#waiting.delete(transaction)
      throw new Error(`the connection ended before the response to ${verb}`)
    })
    const topic = `limb/principal/${this.#name}/request/${verb}`
    // The response may come without the PUBACK, when the connection ends behind it.
    this.client.publish(topic, JSON.stringify({ transaction, ...args })).catch(() => {})
    return await Promise.race([answered, lost])
  }

  /** Like `ask`, and rejects unless the answer is ok. */
  async do(verb: string, args: object = {}): Promise<Record<string, unknown>> {
    const answer = await this.ask(verb, args)
    if (!answer.ok) throw new Error(`${verb}: ${answer.error.code}: ${answer.error.message}`)
    return answer.data
  }

  /** All pages of a listing. */
  async list<T>(verb: string, args: object = {}): Promise<T[]> {
    const items: T[] = []
    let after: unknown
    do {
      const page = await this.do(verb, { limit: 1000, ...args, ...(after === undefined ? {} : { after }) })
      items.push(...(page.items as T[]))
      after = page.next
    } while (after !== undefined)
    return items
  }

  #answer(payload: Buffer): void {
    const { transaction, ...answer } = JSON.parse(payload.toString()) as Answer & { transaction: number }
    const resolve = this.#waiting.get(transaction)
    this.#waiting.delete(transaction)
    resolve?.(answer)
  }
}

let counter = 0

export async function connectControl(socket: string, name = 'admin'): Promise<ControlClient> {
  const client = await connectRaw(
    { socket },
    { clientId: `control-${process.pid}-${++counter}`, username: name },
  )
  const control = new ControlClient(client, name)
  const granted = await client.subscribe(`limb/principal/${name}/response/#`)
  if (granted === 128) throw new Error('the bridge refused the subscription to the responses')
  return control
}
