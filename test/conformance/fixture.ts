import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type Connect, connectPacket, dial, type WireClient } from '../broker/wire.ts'
import type { TestApp } from '../support/app.ts'
import { startApp } from '../support/app.ts'

/**
 * The whole bridge with its authentication on, spoken to byte by byte. Its root has three levels, so that a
 * grant may reach filters such as `+/+`, which could match topics below a root of one level.
 */

export const ROOT = 'of/the/limb'

const OPEN = ['t/#', '/t', '+', '+/+', '/+', 'ünï/#']

export interface Bridge {
  readonly app: TestApp
  /** Adds what signs the principal `admin` in. */
  signed(options?: Connect): Connect
  /** Signed in; fails unless CONNACK is 0. */
  connect(options?: Connect): Promise<WireClient>
  /** A socket that has said nothing yet. */
  dial(): Promise<WireClient>
}

let counter = 0

/** An id that no other test has. */
export function unique(prefix = 'c'): string {
  return `${prefix}${++counter}`
}

/** One bridge for all tests of a file; connections end with their test. */
export function bridge(): Bridge {
  let app: (TestApp & AsyncDisposable) | undefined
  let password = ''
  const clients: WireClient[] = []
  const running = () => {
    if (app === undefined) throw new Error('the bridge is not running')
    return app
  }

  beforeAll(async () => {
    const grants = [{ to: 'admin', publish: OPEN, subscribe: OPEN }]
    app = await startApp({ mqtt: { port: 0, topicRoot: ROOT, grants, allowKeepaliveZero: true } })
    password = readFileSync(app.bridge.adminPassword.file, 'utf8').trim()
  })
  afterEach(() => {
    for (const client of clients.splice(0)) client.socket.destroy()
  })
  afterAll(() => app?.[Symbol.asyncDispose]())

  const signed = (options: Connect = {}): Connect => ({ username: 'admin', password, ...options })
  const open = async () => {
    const client = await dial({ port: running().bridge.mqtt.port })
    clients.push(client)
    return client
  }
  return {
    get app() {
      return running()
    },
    signed,
    dial: open,
    async connect(options = {}) {
      const client = await open()
      client.send(connectPacket(signed({ clientId: unique(), ...options })))
      const { code } = await client.connack()
      if (code !== 0) throw new Error(`CONNACK ${code}`)
      return client
    },
  }
}
