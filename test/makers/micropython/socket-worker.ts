import { connect, type Socket } from 'node:net'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'

/** The sockets of a board whose interpreter blocks its thread: they live here, and their bytes are handed over one by one. */

export type Order =
  | { readonly kind: 'open'; readonly id: number; readonly host: string; readonly port: number }
  | { readonly kind: 'send'; readonly id: number; readonly hex: string }
  | { readonly kind: 'close'; readonly id: number }

export type News =
  | { readonly kind: 'open'; readonly id: number }
  | { readonly kind: 'data'; readonly id: number; readonly hex: string }
  | { readonly kind: 'closed'; readonly id: number }

const { port, signal } = workerData as { port: MessagePort; signal: Int32Array }
const sockets = new Map<number, Socket>()

function tell(news: News): void {
  port.postMessage(news)
  Atomics.add(signal, 0, 1)
  Atomics.notify(signal, 0)
}

parentPort?.on('message', (order: Order) => {
  const { id } = order
  if (order.kind === 'send') sockets.get(id)?.write(Buffer.from(order.hex, 'hex'))
  if (order.kind === 'close') sockets.get(id)?.destroy()
  if (order.kind !== 'open') return
  const socket = connect(order.port, order.host, () => tell({ kind: 'open', id }))
  sockets.set(id, socket)
  socket.on('data', (chunk: Buffer) => tell({ kind: 'data', id, hex: chunk.toString('hex') }))
  socket.on('error', () => {})
  socket.on('close', () => {
    sockets.delete(id)
    tell({ kind: 'closed', id })
  })
})
