import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What came of all the connections that were tried. */
export interface Knocks {
  /** CONNACK received, whatever it said. */
  answered: number
  /** ECONNREFUSED: nobody listened. */
  refused: number
  /** Accepted, and ended before an answer: the bridge stopped at that very moment. */
  cut: number
  /** No answer within ten seconds. */
  late: number
  /** The longest wait for an answer, in milliseconds. */
  longestMs: number
}

/** CONNECT of MQTT 3.1.1, clean session, keepalive 60 s, client id `k`, no credentials: any CONNACK is an answer. */
const CONNECT = Buffer.from('100d00044d5154540402003c00016b', 'hex')
const LIMIT_MS = 10_000

function knock(port: number): Promise<keyof Omit<Knocks, 'longestMs'>> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const done = (outcome: keyof Omit<Knocks, 'longestMs'>) => {
      socket.destroy()
      resolve(outcome)
    }
    socket.setTimeout(LIMIT_MS, () => done('late'))
    socket.once('connect', () => socket.write(CONNECT))
    socket.once('data', () => done('answered'))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      done(error.code === 'ECONNREFUSED' ? 'refused' : 'cut'),
    )
    socket.once('close', () => done('cut'))
  })
}

/** Keeps on connecting until it is told to stop. */
export function knocking(
  port: number,
  clients: number,
): { soFar: Readonly<Knocks>; stop(): Promise<Knocks> } {
  const knocks: Knocks = { answered: 0, refused: 0, cut: 0, late: 0, longestMs: 0 }
  let stopped = false
  const one = async () => {
    while (!stopped) {
      const start = performance.now()
      knocks[await knock(port)]++
      knocks.longestMs = Math.max(knocks.longestMs, performance.now() - start)
      await sleep(5)
    }
  }
  const all = Promise.all(Array.from({ length: clients }, one))
  return {
    soFar: knocks,
    async stop() {
      stopped = true
      await all
      return knocks
    },
  }
}
