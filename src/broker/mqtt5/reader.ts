import { isText } from '../strings.ts'
import { type Fault5, malformed } from './reasons.ts'

const NOTHING = Buffer.alloc(0)

/**
 * Reads the fields of one packet (MQTT 5, section 1.5) between two bounds. The first field that does not fit sets
 * `fault`, and every later one reads as empty, so that callers look once, at the end.
 */
export class Reader {
  fault: Fault5 | undefined
  at: number
  readonly bytes: Buffer
  readonly end: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get left(): number {
    return this.fault === undefined ? this.end - this.at : 0
  }

  fail(fault: Fault5): void {
    this.fault ??= fault
  }

  byte(): number {
    return this.#take(1) ? (this.bytes[this.at - 1] as number) : 0
  }

  uint16(): number {
    return this.#take(2) ? this.bytes.readUInt16BE(this.at - 2) : 0
  }

  uint32(): number {
    return this.#take(4) ? this.bytes.readUInt32BE(this.at - 4) : 0
  }

  /** A variable byte integer in its shortest form [MQTT-1.5.5-1]. */
  varint(): number {
    let value = 0
    for (let place = 0; place < 4; place++) {
      const byte = this.byte()
      if (this.fault !== undefined) return 0
      value += (byte & 0x7f) * 128 ** place
      if (byte >= 0x80) continue
      if (byte === 0 && place > 0) this.fail(malformed('a number is longer than it need be'))
      return value
    }
    this.fail(malformed('a number of more than four bytes'))
    return 0
  }

  binary(): Buffer {
    const length = this.uint16()
    return this.#take(length) ? this.bytes.subarray(this.at - length, this.at) : NOTHING
  }

  text(): string {
    const length = this.uint16()
    if (!this.#take(length) || !this.#lookAt(length)) return ''
    return this.bytes.toString('utf8', this.at - length, this.at)
  }

  /** Passes a text over that is looked at and not needed. */
  skipText(): void {
    const length = this.uint16()
    if (this.#take(length)) this.#lookAt(length)
  }

  #lookAt(length: number): boolean {
    if (isText(this.bytes, this.at - length, this.at)) return true
    this.fail(malformed('a text is no UTF-8, or has control characters'))
    return false
  }

  #take(length: number): boolean {
    if (this.fault !== undefined) return false
    if (length > this.end - this.at) {
      this.fail(malformed('a field is cut short'))
      return false
    }
    this.at += length
    return true
  }
}
