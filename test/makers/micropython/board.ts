import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { loadMicroPython } from '@micropython/micropython-webassembly-pyscript/micropython.mjs'
import type { News, Order } from './socket-worker.ts'

/**
 * A board: the MicroPython interpreter, with the program and the files that it is given, and stand-ins for the modules that
 * only a board has.
 *
 *   node board.ts PROGRAM.py FILE=TEXT…
 */

const [program = '', ...files] = process.argv.slice(2)
const STAND_INS = join(import.meta.dirname, 'stand-ins')

const signal = new Int32Array(new SharedArrayBuffer(4))
const { port1: news, port2: port } = new MessageChannel()
const worker = new Worker(new URL('socket-worker.ts', import.meta.url), {
  workerData: { port, signal },
  transferList: [port],
})
const order = (order: Order) => worker.postMessage(order)

interface Open {
  bytes: Buffer
  state: 'opening' | 'open' | 'closed'
}
const sockets = new Map<number, Open>()
let newest = 0

function takeNews(): void {
  for (let next = receiveMessageOnPort(news); next !== undefined; next = receiveMessageOnPort(news)) {
    const told = next.message as News
    const socket = sockets.get(told.id)
    if (!socket) continue
    if (told.kind === 'open') socket.state = 'open'
    if (told.kind === 'closed') socket.state = 'closed'
    if (told.kind === 'data') socket.bytes = Buffer.concat([socket.bytes, Buffer.from(told.hex, 'hex')])
  }
}

/** Blocks until something has come, or for `ms`. */
function wait(ms: number): void {
  const seen = Atomics.load(signal, 0)
  takeNews()
  if (Atomics.load(signal, 0) === seen) Atomics.wait(signal, 0, seen, ms)
  takeNews()
}

const board = {
  sleep(ms: number) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Math.max(0, ms))
  },
  random: (bytes: number) => randomBytes(bytes).toString('hex'),
  /** 0 when there is no connection. */
  open(host: string, port: number): number {
    const id = ++newest
    const socket: Open = { bytes: Buffer.alloc(0), state: 'opening' }
    sockets.set(id, socket)
    order({ kind: 'open', id, host, port })
    while (socket.state === 'opening') wait(1000)
    return socket.state === 'open' ? id : 0
  },
  /** False when the connection is gone. */
  send(id: number, hex: string): boolean {
    takeNews()
    order({ kind: 'send', id, hex })
    return sockets.get(id)?.state === 'open'
  },
  /** At most so many bytes as hexadecimal; '' at the end, 'none' when nothing came in time. A negative time waits for ever. */
  receive(id: number, count: number, ms: number): string {
    const socket = sockets.get(id)
    if (!socket) return ''
    const until = Date.now() + ms
    takeNews()
    while (socket.bytes.length === 0 && socket.state === 'open') {
      const left = ms < 0 ? 1000 : until - Date.now()
      if (left <= 0) return 'none'
      wait(left)
    }
    const taken = socket.bytes.subarray(0, count)
    socket.bytes = socket.bytes.subarray(taken.length)
    return taken.toString('hex')
  },
  close(id: number) {
    order({ kind: 'close', id })
    sockets.delete(id)
  },
}

const python = await loadMicroPython({
  heapsize: 1024 * 1024,
  linebuffer: true,
  stdout: (line: string) => writeSync(1, `${line}\n`),
  stderr: (line: string) => writeSync(2, `${line}\n`),
})
python.registerJsModule('board_of_test', board)
const copy = (from: string, to: string) => {
  python.FS.mkdirTree(to)
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (entry.isDirectory()) copy(join(from, entry.name), `${to}/${entry.name}`)
    else python.FS.writeFile(`${to}/${entry.name}`, readFileSync(join(from, entry.name)))
  }
}
copy(STAND_INS, '/lib')
for (const file of files) {
  const at = file.indexOf('=')
  python.FS.writeFile(`/${file.slice(0, at)}`, file.slice(at + 1))
}
python.runPython("import sys\nsys.path.insert(0, '/lib')\n")
python.runPython(readFileSync(program, 'utf8'))
