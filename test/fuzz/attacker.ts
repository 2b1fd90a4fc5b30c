import { connect, type Socket } from 'node:net'
import type { BridgeProcess } from '../support/bridge-process.ts'
import type { Script } from './script.ts'

/** The bridge may take so long to close what offended it, or to answer; then the attacker goes by itself. */
const ANSWER_MS = 1500
const LINGER_MS = 150

const isLocal = (who: Script['who']) => who === 'principal' || who === 'viewer'

function dial({ who }: Script, { mqtt, control }: BridgeProcess): Socket {
  return connect(isLocal(who) ? { path: control } : { host: mqtt.host, port: mqtt.port })
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Says what the script says; resolves when the connection is gone. Never rejects. */
export async function play(script: Script, bridge: BridgeProcess): Promise<void> {
  const socket = dial(script, bridge)
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()))
  const answered = new Promise<void>((resolve) => socket.once('data', () => resolve()))
  if (script.polite || script.reads) socket.resume()
  for (const [i, segment] of script.segments.entries()) {
    if (socket.destroyed) break
    if (segment.length > 0) socket.write(segment)
    if (i === 0 && script.polite) await Promise.race([answered, closed, sleep(ANSWER_MS)])
    // Segments that are written in one turn could leave as one.
    else await new Promise<void>((resolve) => setImmediate(resolve))
  }
  if (!script.reads) socket.pause()
  await Promise.race([closed, sleep(LINGER_MS)])
  // A Unix socket has no reset.
  if (script.end === 'reset' && !isLocal(script.who)) socket.resetAndDestroy()
  else if (script.end === 'half-close') socket.end()
  else socket.destroy()
  await Promise.race([closed, sleep(ANSWER_MS)])
  socket.destroy()
  await closed
}
