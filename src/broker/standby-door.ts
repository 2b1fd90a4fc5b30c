import type { Socket } from 'node:net'
import { type Listener, listenUnix } from './listeners.ts'
import { connack5 } from './mqtt5/answers.ts'
import { REASON } from './mqtt5/reasons.ts'
import { refusal } from './publish-frame.ts'

/**
 * The control socket of a standby: whoever asks is told who leads, in the CONNACK that refuses, which MQTT 5 has words
 * for. MQTT 3.1.1 says "server unavailable".
 */

/** The bytes that are looked at: a CONNECT says its version within the first of them. */
const HEAD_BYTES = 16
const PATIENCE_MS = 5000
/** The number of those who may ask at one moment; more are closed at once. */
const MAX_ASKING = 64
/** CONNACK of MQTT 3.1.1: server unavailable. */
const UNAVAILABLE = 3

export async function listenStandby(path: string, mode: number, text: () => string): Promise<Listener> {
  const asking = new Set<Socket>()
  const listener = await listenUnix(path, mode, (socket) => {
    socket.on('error', () => undefined)
    if (asking.size >= MAX_ASKING) {
      socket.destroy()
      return
    }
    asking.add(socket)
    socket.on('close', () => asking.delete(socket))
    socket.setTimeout(PATIENCE_MS, () => socket.destroy())
    answer(socket, text)
  })
  return {
    ...listener,
    async close() {
      await listener.close()
      for (const socket of asking) socket.destroy()
    },
  }
}

function answer(socket: Socket, text: () => string): void {
  let head: Buffer = Buffer.alloc(0)
  const onData = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk.subarray(0, HEAD_BYTES)]).subarray(0, HEAD_BYTES)
    const level = levelOf(head)
    if (level === undefined) return
    socket.off('data', onData)
    // What else it sends is read and dropped: a reset would take the answer away from it.
    socket.resume()
    const isNew = level === 5
    socket.end(isNew ? connack5(false, REASON.serverUnavailable, { reason: text() }) : refusal(UNAVAILABLE))
  }
  socket.on('data', onData)
}

/** The protocol level of a CONNECT; undefined: it has not come yet. What is no CONNECT is taken for an old one. */
function levelOf(head: Buffer): number | undefined {
  let at = 1
  while (at < head.length && at < 5 && ((head[at] as number) & 0x80) !== 0) at++
  const name = at + 1
  if (head.length < name + 2) return undefined
  const level = name + 2 + head.readUInt16BE(name)
  if (level >= HEAD_BYTES) return 0
  return head[level]
}
