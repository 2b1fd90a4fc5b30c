import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { acceptTurns } from '../../src/kernel/accept-turns.ts'
import { TurnTime, UnwatchedTurnTime } from '../../src/kernel/turn-time.ts'
import { FakeClock } from '../support/fake-clock.ts'

const CONNECTIONS = 300

async function listening(): Promise<{ server: Server; accepted: () => number }> {
  let accepted = 0
  const server = createServer((socket) => {
    accepted++
    socket.on('error', () => undefined).resume()
  })
  acceptTurns.follow(server)
  onTestFinished(() => void server.close())
  server.listen(0, '127.0.0.1', 512)
  await once(server, 'listening')
  return { server, accepted: () => accepted }
}

function knock(server: Server): void {
  const { port } = server.address() as AddressInfo
  for (let i = 0; i < CONNECTIONS; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    onTestFinished(() => void socket.destroy())
  }
}

/** Does work of a whole turn after another until all have come. Returns how often, and how often some were still to come. */
async function workMeanwhile(timeOf: (clock: FakeClock) => TurnTime | UnwatchedTurnTime) {
  const { server, accepted } = await listening()
  const clock = new FakeClock()
  const time = timeOf(clock)
  let works = 0
  let meanwhile = 0
  knock(server)
  while (accepted() < CONNECTIONS) {
    if (!time.isLeft) await new Promise<void>((resolve) => time.wait(resolve))
    if (time instanceof UnwatchedTurnTime) time.add(2)
    clock.standStill(10)
    works++
    if (accepted() > 0 && accepted() < CONNECTIONS) meanwhile++
  }
  return { works, meanwhile }
}

test('a crowd of connections is accepted before work has had many turns, which goes on all the same', async () => {
  const { works, meanwhile } = await workMeanwhile((clock) => new TurnTime(clock, 10))
  // One of each turn would be three hundred.
  expect(works).toBeLessThan(CONNECTIONS / 3)
  expect(meanwhile).toBeGreaterThan(5)
})

test('work that is mostly small leaves turns to a crowd of connections too', async () => {
  const { works, meanwhile } = await workMeanwhile((clock) => new UnwatchedTurnTime(clock, 10, 2))
  expect(works).toBeLessThan(CONNECTIONS / 3)
  expect(meanwhile).toBeGreaterThan(5)
})

test('a turn is for work again when nobody comes any more', async () => {
  const { server, accepted } = await listening()
  const time = new TurnTime(new FakeClock(), 10)
  knock(server)
  await expect.poll(accepted).toBe(CONNECTIONS)
  await expect.poll(() => time.isLeft).toBe(true)
})
