import { setTimeout as sleep } from 'node:timers/promises'
import { clientHello } from '../support/client-hello.ts'
import { halfway } from '../support/halfway.ts'
import { type Attack, type Target, until } from './attacker.ts'
import { connected } from './http-attacks.ts'

/** Attacks by handshakes of TLS. The first message is recorded once, so that it costs the attacker nothing. */

const CONNECTIONS = 480

/** Many connections send the first message of a handshake at the same moment. */
function handshakes(portOf: (target: Target) => number): Attack {
  return async (target) => {
    const hello = await clientHello()
    const close = until(target.seconds)
    let done = 0
    while (performance.now() < close) {
      const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => connected(portOf(target))))
      await sleep(300)
      let answered = 0
      for (const socket of sockets) socket.once('data', () => answered++).write(hello)
      await sleep(1000)
      for (const socket of sockets) socket.destroy()
      done += answered
    }
    return done
  }
}

/** Many connections send the last message of their handshake at the same moment. */
function lastMessages(portOf: (target: Target) => number): Attack {
  return async (target) => {
    const close = until(target.seconds)
    let done = 0
    while (performance.now() < close) {
      const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => connected(portOf(target))))
      const releases = await Promise.all(sockets.map(halfway))
      let answered = 0
      for (const socket of sockets) socket.once('data', () => answered++)
      for (const release of releases) release()
      await sleep(1000)
      for (const socket of sockets) socket.destroy()
      done += answered
    }
    return done
  }
}

export const TLS_ATTACKS: Readonly<Record<string, Attack>> = {
  'first messages at once, of MQTT': handshakes(({ tls }) => tls),
  'first messages at once, of HTTPS': handshakes(({ http }) => http),
  'last messages at once, of MQTT': lastMessages(({ tls }) => tls),
  'last messages at once, of HTTPS': lastMessages(({ http }) => http),
}
