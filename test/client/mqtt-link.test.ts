import { createServer, type Server, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import { expect, onTestFinished, test } from 'vitest'
import { type LinkEnd, MqttLink } from '../../src/client/mqtt-link.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { start } from '../broker/fixture.ts'

/** The versions that a link speaks, and with whom. */

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

/** Connects once; resolves to the version that it is connected with, or to why it is not. */
async function versionAt(port: number, options: object = {}): Promise<number | string | undefined> {
  const link = linkTo(port, options)
  const outcome = await link.outcome
  return 'why' in outcome ? outcome.why : link.client()?.options.protocolVersion
}

function linkTo(port: number, options: object = {}) {
  const { promise, resolve } = Promise.withResolvers<LinkEnd | { opened: true }>()
  const target = () => ({
    to: { url: `mqtt://127.0.0.1:${port}` },
    options: { clientId: 'link', ...options },
  })
  const link = new MqttLink(
    { clock: systemClock, target },
    { opened: () => resolve({ opened: true }), message: () => undefined, closed: resolve },
  )
  link.start()
  onTestFinished(() => link.stop())
  return { outcome: promise, client: () => link.client }
}

test('a link speaks MQTT 5 with the bridge', async () => {
  const bridge = await start()
  expect(await versionAt(bridge.port, { username: 'viewer1' })).toBe(5)
})

test('a link speaks MQTT 3.1.1 with a bridge that is set to it', async () => {
  const bridge = await start({ limits: { versions: [3, 4] } })
  expect(await versionAt(bridge.port, { username: 'viewer1' })).toBe(4)
})

test('a link speaks MQTT 3.1.1 with a broker that knows no other', async () => {
  const broker = await Aedes.createBroker()
  onTestFinished(() => new Promise<void>((resolve) => broker.close(resolve)))
  const port = await listening(createServer(broker.handle))
  expect(await versionAt(port)).toBe(4)
})

test('a link speaks MQTT 3.1.1 with a broker that hangs up on MQTT 5', async () => {
  const levels: unknown[] = []
  const answer = (socket: Socket) =>
    socket.once('data', (connect) => {
      levels.push(connect[8])
      if (connect[8] === 4) socket.write(Buffer.from([0x20, 2, 0, 0]))
      else socket.destroy()
    })
  expect(await versionAt(await listening(createServer(answer)))).toBe(4)
  expect(levels).toEqual([5, 4])
})

test('a link that is refused for its password is not tried in another version', async () => {
  const bridge = await start()
  const options = { username: 'admin1', password: 'wrong' }
  expect(await versionAt(bridge.port, options)).toMatch(/Bad User Name or Password/)
  expect(bridge.core.admitted).toHaveLength(1)
})

test('a link keeps to the version that its target names', async () => {
  const bridge = await start({ limits: { versions: [3, 4] } })
  expect(await versionAt(bridge.port, { protocolVersion: 5 })).toMatch(/Unsupported Protocol Version/)
})

test('a link publishes no more at once than the bridge takes', async () => {
  const bridge = await start({
    grants: [{ to: 'viewer', publish: ['t'] }],
    limits: { maxInflightPerSession: 5 },
    // Slow enough that all would be under way together.
    wrapPersistence: (persistence) => {
      const { storeRetained } = persistence
      const slowly: typeof storeRetained = async (message) => {
        await new Promise((resolve) => setImmediate(resolve))
        await storeRetained.call(persistence, message)
      }
      return Object.assign(persistence, { storeRetained: slowly })
    },
  })
  const link = linkTo(bridge.port, { username: 'viewer1' })
  await link.outcome
  const client = link.client()
  const sent = Array.from({ length: 50 }, (_, i) =>
    client?.publishAsync('t', String(i), { qos: 1, retain: true }),
  )
  await expect(Promise.all(sent)).resolves.toHaveLength(50)
  expect(client?.connected).toBe(true)
})
