import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { serveCommands } from './rpc.ts'

/** The bare broker: no sign-in, no rights, no presence, defaults only. What the bridge adds is the difference. */

const broker = await Aedes.createBroker()
const server = createServer({ noDelay: true }, broker.handle)

function listen(_: Record<string, never>): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : 0)
    })
  })
}

const commands = { listen }
export type AedesCommands = typeof commands

serveCommands(commands)
