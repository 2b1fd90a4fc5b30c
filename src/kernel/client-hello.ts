/** TLS carries a handshake in records of this type, and begins it with a message of this type (RFC 8446, 4 and 5.1). */
const HANDSHAKE_RECORD = 22
const CLIENT_HELLO = 1
/** The version that stands before each record is 3.x, whatever is spoken. */
const MAJOR_VERSION = 3
const RECORD_HEAD_BYTES = 5
const MESSAGE_HEAD_BYTES = 4
const MAX_RECORD_BYTES = 16_384

/**
 * Looks at the first bytes of a connection as they come. A message may be cut into records as its sender likes, so that a
 * record that was whole is not looked at again.
 */
export class FirstMessage {
  /** The place of the first record that was not whole. */
  #at = 0
  /** The kind and the length of the message, as far as they came in whole records. */
  #head: readonly number[] = []
  /** The bytes of the message in whole records. */
  #messageBytes = 0

  /**
   * Says what the first bytes are: the whole first message of TLS, the beginning of one, or something else. `bytes`: all
   * that came, with what was looked at before.
   */
  look(bytes: Buffer): 'whole' | 'more' | 'other' {
    for (;;) {
      const record = bytes.subarray(this.#at)
      if (!isRecord(record)) return 'other'
      if (record.length < RECORD_HEAD_BYTES) return 'more'
      const end = RECORD_HEAD_BYTES + record.readUInt16BE(3)
      const part = record.subarray(RECORD_HEAD_BYTES, end)
      const head = [...this.#head, ...part.subarray(0, MESSAGE_HEAD_BYTES - this.#head.length)]
      const messageBytes = this.#messageBytes + part.length
      if (head.length > 0 && head[0] !== CLIENT_HELLO) return 'other'
      if (head.length === MESSAGE_HEAD_BYTES && messageBytes >= lengthIn(head)) return 'whole'
      if (record.length < end) return 'more'
      this.#at += end
      this.#head = head
      this.#messageBytes = messageBytes
    }
  }
}

/** Returns whether bytes may be the beginning of a record; of none it is not known yet. */
function isRecord(bytes: Buffer): boolean {
  const [type = HANDSHAKE_RECORD, major = MAJOR_VERSION] = bytes
  if (type !== HANDSHAKE_RECORD || major !== MAJOR_VERSION) return false
  if (bytes.length < RECORD_HEAD_BYTES) return true
  const length = bytes.readUInt16BE(3)
  return length > 0 && length <= MAX_RECORD_BYTES
}

function lengthIn([, high = 0, middle = 0, low = 0]: readonly number[]): number {
  return MESSAGE_HEAD_BYTES + high * 65_536 + middle * 256 + low
}
