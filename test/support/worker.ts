import type { TestApp } from './app.ts'
import type { Loose, Received, TestClient } from './client.ts'
import { storeQuiet } from './store.ts'

/** A limb that is online and does what it is invoked for. */
export interface Worker {
  readonly client: TestClient
  /** What it was told, in order. */
  readonly told: Loose[]
  /** The next invocation that was not answered by itself. */
  next(): Promise<Loose>
  answer(invocation: Loose, result?: Loose): Promise<void>
}

export const ROBOT = {
  displayName: 'Robot',
  platform: 'linux',
  capabilities: [
    { cap: 'camera', commands: ['camera.snap'], authLevel: 'free' },
    { cap: 'arm', commands: ['arm.move', 'arm.home'], authLevel: 'leased' },
    { cap: 'saw', commands: ['saw.cut'], authLevel: 'gated' },
    { cap: 'self-destruct', commands: ['self-destruct.go'], authLevel: 'denied' },
  ],
}

/** Pairs the limb, subscribes to `invoke` and sends a heartbeat. */
export async function worker(app: TestApp, nodeId: string, registration: Loose = ROBOT): Promise<Worker> {
  const client = await app.limb(nodeId, registration)
  return await attend(app, nodeId, client)
}

/** The same for a device that is connected already. */
export async function attend(app: TestApp, nodeId: string, client: TestClient): Promise<Worker> {
  const told: Loose[] = []
  const topic = `limb/node/${nodeId}/invoke`
  client.mqtt.on('message', (on, payload) => {
    if (on === topic) told.push(JSON.parse(payload.toString()))
  })
  await client.subscribe(topic)
  await client.publish(`limb/node/${nodeId}/heartbeat`)
  const watcher = await app.admin()
  await watcher.subscribe(`limb/node/${nodeId}/status`)
  await watcher.next((message) => message.text === 'online')
  await watcher.end()
  return {
    client,
    told,
    next: async () => (await client.next(topic)).json,
    answer: (invocation, result = { success: true, data: { did: invocation.command } }) =>
      client.publish(`limb/node/${nodeId}/result`, { invocationId: invocation.invocationId, ...result }),
  }
}

/** Adds a principal and connects as it, subscribed to its responses. */
export async function agent(app: TestApp, name: string, role = 'agent'): Promise<TestClient> {
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name, role, password: `${name}-password` })
  await admin.end()
  const client = await app.principal(name, `${name}-password`)
  await client.subscribe(`limb/principal/${name}/response/#`)
  return client
}

let transactions = 0

/** Sends a request; the answer is awaited later. */
export async function send(
  client: TestClient,
  name: string,
  verb: string,
  args: Loose,
): Promise<() => Promise<Loose>> {
  const transaction = `later-${++transactions}`
  await client.publish(`limb/principal/${name}/request/${verb}`, { transaction, ...args })
  // What is sent next comes behind it.
  await storeQuiet()
  return async () => (await client.next((message: Received) => message.json.transaction === transaction)).json
}
