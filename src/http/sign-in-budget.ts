import type { Duplex } from 'node:stream'

/**
 * Limits how much a peer may send before the broker has let it in. A WebSocket frame is held in memory until it is
 * whole, so a stranger could otherwise make the bridge hold one packet of the largest size per connection.
 */

/** CONNACK with return code 0: type and flags, length, session present, code [MQTT-3.2]. */
const CONNACK_BYTES = 4

/** Calls `admitted` once, when the first packet that goes out is a CONNACK that accepts. */
export class ConnackWatch {
  readonly #first: number[] = []

  /** Feed with what is written; true from the accepting CONNACK on. */
  accepts(chunk: Uint8Array): boolean {
    for (const byte of chunk.subarray(0, CONNACK_BYTES - this.#first.length)) this.#first.push(byte)
    const [kind, , , code] = this.#first
    return kind === 0x20 && code === 0
  }
}

/**
 * Ends `socket` when more than `budgetBytes` come in before `admitted()` is called.
 */
export function guardSignIn(socket: Duplex, budgetBytes: number, exceeded: () => void): () => void {
  let bytes = 0
  const onData = (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= budgetBytes) return
    socket.off('data', onData)
    exceeded()
  }
  socket.on('data', onData)
  return () => socket.off('data', onData)
}
