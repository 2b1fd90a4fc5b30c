import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  PACKET,
  PacketReader,
  pubackPacket,
  publishPacket,
  subscribePacket,
  type Version,
} from '../support/mqtt-wire.ts'

/** A device on a bare socket that does all that docs/protocol/limbs.md asks for, but for the faults that it is given. */

export type Fault =
  | 'client-id'
  | 'short-key'
  | 'new-key-each-time'
  | 'long-keepalive'
  | 'subscribes-late'
  | 'subscribes-everything'
  | 'never-registers'
  | 'registers-nonsense'
  | 'registers-often'
  | 'registers-at-qos-0'
  | 'reconnects-while-pending'
  | 'no-invoke'
  | 'invoke-at-qos-0'
  | 'no-heartbeat'
  | 'own-pace'
  | 'nonsense-heartbeat'
  | 'retained-heartbeat'
  | 'never-answers'
  | 'result-without-id'
  | 'wrong-result'
  | 'result-at-qos-0'
  | 'does-twice'
  | 'takes-anything'
  | 'forgets-fence'
  | 'publishes-elsewhere'
  | 'lies-about-values'
  | 'stays-away'
  | 'storms'
  | 'fixed-pause'
  | 'registers-once'
  | 'never-notices-silence'
  | 'ignores-new-key'
  | 'no-user'
  | 'comes-back-rejected'

const INPUT = {
  type: 'object',
  properties: { on: { type: 'boolean' } },
  required: ['on'],
}
/** Enough for an answer that PubSubClient has no room for. */
const MORE = [
  'lamp.blink',
  'lamp.fade',
  'lamp.rainbow',
  'lamp.sunrise',
  'lamp.sunset',
  'lamp.candle',
  'lamp.alarm',
]

export const REGISTRATION = {
  displayName: 'Lamp',
  platform: 'test',
  heartbeatSeconds: 60,
  capabilities: [
    { cap: 'lamp', authLevel: 'leased', commands: [...MORE, { name: 'lamp.set', input: INPUT, safe: true }] },
  ],
  properties: [{ name: 'brightness', topic: 'data/lamp', pointer: '/b', type: 'number', maximum: 100 }],
}

export class Firmware {
  readonly #port: number
  readonly #nodeId: string
  readonly #faults: ReadonlySet<Fault>
  readonly #version: Version
  #key = 'the-Key-of-this-lamp-0123456789'
  #stopped = false
  #socket: Socket | undefined
  #failures = 0
  #starts = 0
  #rejected = false
  #pinged = false
  #fence = 0
  readonly #done = new Set<string>()
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(port: number, nodeId: string, faults: readonly Fault[] = [], version: Version = 4) {
    this.#port = port
    this.#nodeId = nodeId
    this.#faults = new Set(faults)
    this.#version = version
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      await this.#visit()
      if (this.#has('stays-away') || this.#stopped) return
      // A rejected device waits for minutes; a test has none.
      if (this.#rejected && !this.#has('comes-back-rejected')) return
      await sleep(this.#pauseMs())
    }
  }

  stop(): void {
    this.#stopped = true
    this.#socket?.destroy()
  }

  #has(fault: Fault): boolean {
    return this.#faults.has(fault)
  }

  #pauseMs(): number {
    if (this.#has('reconnects-while-pending')) return 50
    if (this.#has('storms') || this.#rejected) return 20
    // Long enough that what a busy machine adds is no growth.
    if (this.#has('fixed-pause')) return 1500
    // The shortest that the protocol allows, so that the test takes seconds.
    return Math.min(30_000, 1000 * 2 ** this.#failures++) * (this.#failures === 3 ? 0.6 : 0.5)
  }

  async #visit(): Promise<void> {
    const socket = connect(this.#port, '127.0.0.1')
    this.#socket = socket
    const reader = new PacketReader((first, body) => this.#packet(first, Buffer.from(body)))
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
    socket.on('error', () => {})
    socket.write(this.#connect())
    await new Promise((resolve) => socket.on('close', resolve))
    for (const timer of this.#timers) clearInterval(timer)
    this.#timers.clear()
  }

  #connect(): Buffer {
    if (this.#has('new-key-each-time') && this.#starts > 0) this.#key = `${this.#key}${this.#starts}`
    this.#starts++
    const text = (value: string) => Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)])
    const keepalive = this.#has('long-keepalive') ? 400 : 10
    const flags = this.#has('no-user') ? 0x02 : 0xc2
    const body = Buffer.concat([
      text('MQTT'),
      Buffer.from([this.#version, flags, keepalive >> 8, keepalive & 0xff]),
      Buffer.alloc(this.#version === 5 ? 1 : 0),
      text(this.#has('client-id') ? 'some-client' : this.#nodeId),
      ...(this.#has('no-user')
        ? []
        : [text(this.#nodeId), text(this.#has('short-key') ? 'short' : this.#key)]),
    ])
    return Buffer.concat([Buffer.from([0x10, body.length]), body])
  }

  #publish(leaf: string, payload: string, { qos = 1, retain = false } = {}): void {
    this.#to(`limb/node/${this.#nodeId}/${leaf}`, payload, qos, retain)
  }

  #to(topic: string, payload: string, qos = 1, retain = false): void {
    this.#socket?.write(publishPacket(topic, payload, qos === 0 ? 0 : 7, { version: this.#version, retain }))
  }

  #subscribe(leaf: string, qos: 0 | 1 = 1): void {
    this.#socket?.write(subscribePacket(`limb/node/${this.#nodeId}/${leaf}`, qos, 9, this.#version))
  }

  #packet(first: number, body: Buffer): void {
    const type = first >> 4
    if (type === PACKET.connack && body[1] === 0) this.#connected()
    if (type === PACKET.pingresp) this.#pinged = false
    if (type === PACKET.publish) this.#message(first, body)
  }

  #connected(): void {
    this.#pinged = false
    if (this.#has('subscribes-everything')) this.#socket?.write(subscribePacket('#', 1, 11, this.#version))
    this.#every(4000, () => {
      this.#ping()
    })
    if (this.#has('never-registers') || (this.#has('registers-once') && this.#starts > 1)) return
    if (!this.#has('subscribes-late')) this.#subscribe('pairing')
    const text = this.#has('registers-nonsense') ? '{"displayName": 7}' : JSON.stringify(REGISTRATION)
    for (let i = 0; i < (this.#has('registers-often') ? 8 : 1); i++)
      this.#publish('register', text, { qos: this.#has('registers-at-qos-0') ? 0 : 1 })
    if (this.#has('subscribes-late')) this.#subscribe('pairing')
    if (this.#has('reconnects-while-pending') && this.#starts < 4)
      this.#later(150, () => this.#socket?.destroy())
  }

  #ping(): void {
    if (this.#pinged && !this.#has('never-notices-silence')) {
      this.#socket?.destroy()
      return
    }
    this.#pinged = true
    this.#socket?.write(Buffer.from([0xc0, 0]))
  }

  #every(ms: number, work: () => void): void {
    this.#timers.add(setInterval(work, ms))
  }

  #later(ms: number, work: () => void): void {
    this.#timers.add(setTimeout(work, ms))
  }

  #message(first: number, body: Buffer): void {
    const topicEnd = 2 + body.readUInt16BE(0)
    const topic = body.toString('utf8', 2, topicEnd)
    const qos = (first >> 1) & 3
    const at = topicEnd + (qos > 0 ? 2 : 0)
    const payload = body.subarray(this.#version === 5 ? at + 1 + (body[at] ?? 0) : at)
    if (qos > 0) this.#socket?.write(pubackPacket(body.readUInt16BE(topicEnd)))
    const json = JSON.parse(payload.toString('utf8'))
    if (topic.endsWith('/pairing')) this.#answered(json)
    else this.#invoked(json)
  }

  #answered(answer: { status: string; heartbeatSeconds: number; apiKey?: string }): void {
    if (answer.status === 'rejected') this.#rejected = true
    if (answer.status !== 'approved') return
    this.#failures = 0
    if (answer.apiKey !== undefined && !this.#has('ignores-new-key')) this.#key = answer.apiKey
    if (!this.#has('no-invoke')) this.#subscribe('invoke', this.#has('invoke-at-qos-0') ? 0 : 1)
    if (!this.#has('no-heartbeat')) {
      this.#heartbeat()
      const seconds = this.#has('own-pace') ? REGISTRATION.heartbeatSeconds : answer.heartbeatSeconds
      this.#every(seconds * 1000, () => this.#heartbeat())
    }
    this.#publish('data/lamp', JSON.stringify({ b: this.#has('lies-about-values') ? 255 : 80 }), { qos: 0 })
    if (this.#has('publishes-elsewhere')) this.#to('homeassistant/sensor/lamp/config', '{}')
  }

  #heartbeat(): void {
    const text = this.#has('nonsense-heartbeat') ? '{"status": "alive"}' : '{}'
    this.#publish('heartbeat', text, { retain: this.#has('retained-heartbeat') })
  }

  #invoked(invocation: { invocationId: string; params: { on?: unknown }; fence?: number }): void {
    if (this.#has('never-answers')) return
    const { invocationId, params, fence = 0 } = invocation
    if (this.#done.has(invocationId) && !this.#has('does-twice')) return
    this.#done.add(invocationId)
    const id = this.#has('result-without-id') ? {} : { invocationId }
    const answer = (more: object) =>
      this.#publish('result', JSON.stringify({ ...id, ...more }), {
        qos: this.#has('result-at-qos-0') ? 0 : 1,
      })
    if (fence < this.#fence && !this.#has('forgets-fence'))
      answer({ success: false, error: 'that lease has ended' })
    else if (typeof params.on !== 'boolean' && !this.#has('takes-anything'))
      answer({ success: false, error: 'on must be true or false' })
    else if (this.#has('wrong-result')) answer({ success: 'yes' })
    else answer({ success: true, data: { on: params.on ?? null, count: this.#done.size + Math.random() } })
    this.#fence = Math.max(this.#fence, fence)
  }
}
