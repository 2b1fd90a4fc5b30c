import { setTimeout as sleep } from 'node:timers/promises'
import { type ControlClient, connectControl } from '../support/control-client.ts'
import { publishPacket, subscribePacket } from '../support/mqtt-wire.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'
import { AGENT, type Attack, LIMB, session, type Target, until, VIEWER } from './attacker.ts'

/** Attacks by much that happens at one moment, beside hundreds of sessions that are told of all of it. */

const WATCHERS = 200
const KEY = 'a key of one of many limbs'
/** The least pause between two changes of a registration, which may have thirty a minute. */
const PAUSE_MS = 2100

type Round = (control: ControlClient, target: Target, round: number) => Promise<number>

/** Does the same again and again while the sessions of the viewer watch. Each round says how much it did. */
function watched(prepare: (control: ControlClient, target: Target) => Promise<Round>): Attack {
  return async (target) => {
    const control = await connectControl(target.control)
    const watchers = await Promise.all(
      Array.from({ length: WATCHERS }, (_, i) => session(target.mqtt, `w${i}`, VIEWER, target.viewer)),
    )
    for (const socket of watchers) socket.resume().write(subscribePacket('limb/#', 0, 1))
    const work = await prepare(control, target)
    await sleep(1000)
    const end = until(target.seconds)
    let done = 0
    for (let round = 0; performance.now() < end; round++) done += await work(control, target, round)
    for (const socket of watchers) socket.destroy()
    control.client.cut()
    return done
  }
}

const at = ({ mqtt }: Target, localAddress?: string) => ({ host: '127.0.0.1', port: mqtt, localAddress })

const limbOf = (target: Target, nodeId: string): Promise<RawClient> =>
  connectRaw(at(target), { clientId: nodeId, username: nodeId, password: KEY })

/** Approves limbs of a name and a number, with a key. */
async function own(control: ControlClient, name: string, count: number, capabilities: readonly object[]) {
  const names = Array.from({ length: count }, (_, i) => `${name}${i}`)
  await control.do('node/import', { nodes: names.map((nodeId) => ({ nodeId, apiKey: KEY, capabilities })) })
  return names
}

const registration = (displayName: string, firmware: string) =>
  JSON.stringify({ displayName, platform: 'x', firmware, capabilities: [] })

/** All of them register at the same moment, each time with something new. */
const registering = (clients: readonly (readonly [string, RawClient])[]): Round => {
  return async (_control, _target, round) => {
    const done = clients.map(([nodeId, client]) =>
      client.publish(`limb/node/${nodeId}/register`, registration(nodeId, `${round}`)).catch(() => undefined),
    )
    await Promise.all([...done, sleep(PAUSE_MS)])
    return clients.length
  }
}

const STRANGERS = Array.from({ length: 1000 }, (_, i) => ({
  name: `stranger${i}`,
  from: `127.0.1.${1 + (i % 100)}`,
}))

export const MOMENT_ATTACKS: Readonly<Record<string, Attack>> = {
  'a thousand strangers that ask to be paired': watched(async (_control, target) => {
    const clients = STRANGERS.map(async ({ name, from }) => {
      const client = await connectRaw(at(target, from), { clientId: name, username: name, password: KEY })
      return [name, client] as const
    })
    return registering(await Promise.all(clients))
  }),
  'limbs that register with a new firmware': watched(async (control, target) => {
    const names = await own(control, 'own', 250, [])
    return registering(
      await Promise.all(names.map(async (name) => [name, await limbOf(target, name)] as const)),
    )
  }),
  'limbs that are revoked with all that is retained of them': watched(
    async () => async (control, target, round) => {
      const [nodeId = ''] = await own(control, `full${round}n`, 1, [])
      const limb = await limbOf(target, nodeId)
      for (let id = 1; id <= 256; id++)
        await limb.publishBytes(
          publishPacket(`limb/node/${nodeId}/data/${id}`, 'x', id, { retain: true }),
          id,
        )
      await control.do('node/revoke', { nodeId })
      return 1
    },
  ),
  'principals that are removed while much waits for them': watched(
    async () => async (control, target, round) => {
      const name = `gone${round}`
      const password = String((await control.do('principal/add', { name, role: 'viewer' })).password)
      for (let i = 0; i < 12; i++) {
        const client = await connectRaw(at(target), {
          clientId: `c${i}`,
          username: name,
          password,
          clean: false,
        })
        await client.subscribe(`limb/node/${LIMB}/data/#`)
        client.cut()
      }
      const limb = await connectRaw(at(target), { clientId: LIMB, username: LIMB, password: target.limbKey })
      const payload = Buffer.alloc(5000, round)
      await Promise.all(Array.from({ length: 900 }, () => limb.publish(`limb/node/${LIMB}/data/t`, payload)))
      limb.cut()
      await control.do('principal/remove', { name })
      return 1
    },
  ),
  'leases that a policy ends': watched(async (control, target) => {
    const capabilities = Array.from({ length: 64 }, (_, i) => ({
      cap: `c${i}`,
      commands: [`c${i}.go`],
      authLevel: 'leased',
    }))
    const names = await own(control, 'held', 4, capabilities)
    const limbs = await Promise.all(names.map((name) => limbOf(target, name)))
    const agent = await connectRaw(at(target), { clientId: AGENT, username: AGENT, password: target.agent })
    let granted = 0
    agent.onMessage = (_topic, payload) => {
      granted += payload.includes('"ok":true') ? 1 : 0
    }
    await agent.subscribe(`limb/principal/${AGENT}/response/#`)
    return async () => {
      granted = 0
      for (const [i, nodeId] of names.entries()) {
        await limbs[i]?.publish(`limb/node/${nodeId}/heartbeat`, '{"status":"online"}')
        for (const { cap: capability } of capabilities) {
          const request = JSON.stringify({ transaction: 1, nodeId, capability })
          await agent.publish(`limb/principal/${AGENT}/request/lease/acquire`, request)
        }
      }
      const all = { principal: '*', nodeId: '*', capability: '*' }
      await control.do('policy/set', { ...all, level: 'denied' })
      await control.do('policy/delete', all)
      return granted
    }
  }),
}
