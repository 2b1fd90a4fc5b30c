import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Aedes, type Client } from 'aedes'
import { Refusal } from '../../src/kernel/errors.ts'
import { topicsOf } from '../../src/protocol/topics.ts'

/** A real broker on a real socket whose answers come from a script. */

export type Answer = (args: Record<string, unknown>) => unknown

export interface FakeBridge {
  readonly socket: string
  readonly url: string
  readonly folder: string
  /** Every request: verb, arguments, and the principal whose topic it came on. */
  readonly requests: Array<{ verb: string; args: Record<string, unknown>; principal: string }>
  answers: Record<string, Answer>
  publish(topic: string, payload: object | string, retain?: boolean): Promise<void>
  /** Ends every live connection. */
  dropAll(): void
  /** Set: what clients publish is given to it, and neither acknowledged nor answered. */
  onUnheard: (() => void) | undefined
  /** Of sign-ins, whether each was let in. */
  onSignIn: (accepted: boolean) => void
  /** What clients publish outside requests. */
  onPublish: (topic: string, payload: Buffer, client: Client) => void
  stop(): Promise<void>
}

/** Thrown by an answer: say nothing at all. */
export const SILENCE = new Error('silence')

async function listening(server: Server, where: string | number): Promise<void> {
  if (typeof where === 'string') server.listen(where)
  else server.listen(where, '127.0.0.1')
  await once(server, 'listening')
}

export async function startFakeBridge(
  options: { password?: string; root?: string } = {},
): Promise<FakeBridge> {
  const topics = topicsOf(options.root ?? 'limb')
  const folder = mkdtempSync(join(tmpdir(), 'limb-cli-'))
  const broker = await Aedes.createBroker()
  const clients = new Set<Client>()
  const local = createServer((connection) => broker.handle(connection))
  const remote = createServer((connection) => {
    remotes.add(connection)
    broker.handle(connection)
  })
  const remotes = new Set<unknown>()
  const socket = join(folder, 'control.sock')
  await listening(local, socket)
  await listening(remote, 0)

  broker.on('client', (client) => clients.add(client))
  broker.on('clientDisconnect', (client) => clients.delete(client))
  broker.on('clientError', () => {})
  broker.authenticate = (client, _name, password, done) => {
    const needs = options.password !== undefined && remotes.has(client.conn)
    const accepted = !needs || password?.toString() === options.password
    bridge.onSignIn(accepted)
    if (accepted) done(null, true)
    else done(Object.assign(new Error('no'), { returnCode: 5 }) as never, false)
  }

  broker.authorizePublish = (_client, _packet, done) => {
    if (bridge.onUnheard) bridge.onUnheard()
    else done(null)
  }

  const publish = (topic: string, payload: object | string, retain = false) =>
    new Promise<void>((resolve, reject) => {
      const bytes = typeof payload === 'string' ? payload : JSON.stringify(payload)
      broker.publish({ cmd: 'publish', qos: 1, dup: false, retain, topic, payload: bytes }, (error) =>
        error ? reject(error) : resolve(),
      )
    })

  const bridge: FakeBridge = {
    socket,
    url: `mqtt://127.0.0.1:${(remote.address() as AddressInfo).port}`,
    folder,
    requests: [],
    answers: {},
    publish,
    dropAll() {
      for (const client of clients) client.conn.destroy()
    },
    onUnheard: undefined,
    onSignIn: () => {},
    onPublish: () => {},
    async stop() {
      await new Promise<void>((resolve) => broker.close(() => resolve()))
      for (const server of [local, remote]) server.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }

  broker.on('publish', (packet, client) => {
    if (!client) return
    const payload = Buffer.from(packet.payload)
    const address = topics.parse(packet.topic)
    if (address?.kind === 'request') void respond(address.principal, address.verb, payload)
    else bridge.onPublish(packet.topic, payload, client)
  })

  async function respond(principal: string, verb: string, payload: Buffer): Promise<void> {
    const { transaction, ...args } = JSON.parse(payload.toString())
    bridge.requests.push({ verb, args, principal })
    let response: object
    try {
      const answer = bridge.answers[verb]
      if (!answer) throw new Refusal('internal', `the script knows no ${verb}`)
      response = { transaction, ok: true, data: await answer(args) }
    } catch (error) {
      if (error === SILENCE) return
      response = { transaction, ok: false, error: (error as Refusal).body() }
    }
    await publish(topics.response(principal, verb), response)
  }
  return bridge
}
