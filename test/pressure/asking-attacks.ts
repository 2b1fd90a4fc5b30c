import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { publishPacket, subscribePacket } from '../support/mqtt-wire.ts'
import { AGENT, type Attack, id, LIMB, session, type Target, until } from './attacker.ts'

/** Attacks by asking again, with its idempotency key, for an invocation that is under way. */

const SESSIONS = 60
const REQUESTS = 30

function ask(socket: Socket, request: object): void {
  const topic = `limb/principal/${AGENT}/request/invoke`
  for (let i = 1; i <= REQUESTS; i++)
    socket.write(publishPacket(topic, JSON.stringify({ ...request, transaction: i }), i))
}

/** Sessions of the agent, one after the other: each asks many times for the same invocation, and goes. */
export const goingAfterAsking: Attack = async ({ mqtt, agent, seconds }) => {
  const end = until(seconds)
  const request = { nodeId: 'node1', command: 'x.y', idempotencyKey: id(), offlineWaitSeconds: 3600 }
  let done = 0
  const comeAndGo = async () => {
    while (performance.now() < end) {
      const socket = await session(mqtt, id(), AGENT, agent)
      socket.resume()
      ask(socket, request)
      await sleep(100)
      socket.destroy()
      done++
    }
  }
  await Promise.all(Array.from({ length: 30 }, comeAndGo))
  return done
}

/** The limb answers with a large result, and late: by then hundreds of requests wait for it. */
async function answering({ mqtt, limbKey }: Target, afterMs: number): Promise<Socket> {
  const data = 'x'.repeat(900_000)
  const limb = await session(mqtt, id(), LIMB, limbKey)
  limb.write(subscribePacket(`limb/node/${LIMB}/invoke`, 1, 1))
  limb.write(publishPacket(`limb/node/${LIMB}/heartbeat`, '{}', 1))
  limb.on('data', (chunk: Buffer) => {
    const [, invocationId] = /"invocationId":"([^"]+)"/.exec(chunk.toString('latin1')) ?? []
    const result = JSON.stringify({ invocationId, success: true, data })
    if (invocationId !== undefined)
      setTimeout(() => limb.write(publishPacket(`limb/node/${LIMB}/result`, result, 2)), afterMs)
  })
  return limb
}

/** Sixty sessions of the agent ask for one invocation after the other, all at once, and read what they are answered. */
export const manyForOneAnswer: Attack = async (target) => {
  const end = until(target.seconds)
  const limb = await answering(target, 1000)
  const sockets = await Promise.all(
    Array.from({ length: SESSIONS }, () => session(target.mqtt, id(), AGENT, target.agent)),
  )
  for (const socket of sockets) {
    socket.write(subscribePacket(`limb/principal/${AGENT}/response/#`, 1, 1))
    socket.resume()
  }
  let done = 0
  while (performance.now() < end) {
    const request = { nodeId: LIMB, command: 'x.y', idempotencyKey: id() }
    for (const socket of sockets) ask(socket, request)
    done++
    await sleep(2000)
  }
  for (const socket of [limb, ...sockets]) socket.destroy()
  return done
}
