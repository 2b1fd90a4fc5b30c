import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IClientOptions } from 'mqtt'
import { startBridge } from '../../src/app.ts'
import type { RunningBridge } from '../../src/assembly/options.ts'
import { type Config, resolveConfig } from '../../src/host/config/config.ts'
import { createLog } from '../../src/host/log/log.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { PASSWORD_COST } from '../../src/kernel/secrets.ts'
import { CHEAP_PASSWORDS } from './cheap-passwords.ts'
import { connect, type Loose, type TestClient } from './client.ts'
import { FakeClock } from './fake-clock.ts'
import { patience } from './patience.ts'
import { storeOf } from './store.ts'
import { askStored, type StoredRow } from './stored.ts'

type Loosely<T> = T extends readonly (infer Item)[] ? readonly Loosely<Item>[] : Partial<T>
type Overrides = { [Section in keyof Config]?: Loosely<Config[Section]> }

export interface TestApp {
  readonly bridge: RunningBridge
  readonly clock: FakeClock
  readonly folder: string
  readonly logLines: Record<string, unknown>[]
  /** Connects as a device; no key, no password. */
  device(nodeId: string, key?: string, options?: IClientOptions): Promise<TestClient>
  principal(name: string, password: string | Buffer, options?: IClientOptions): Promise<TestClient>
  /** The local administrator, through the control socket. */
  admin(options?: IClientOptions): Promise<TestClient>
  /** A device that is approved and subscribed to `pairing`. */
  limb(nodeId: string, registration?: Loose, key?: string): Promise<TestClient>
  /** Asks its database behind its back, whichever store it is; not one in memory. Rows of a text that begins with SELECT. */
  sql(text: string): Promise<StoredRow[]>
  /** With other values of some settings, if there are any. */
  restart(changed?: Overrides): Promise<void>
}

/**
 * The whole bridge in this process, on ephemeral ports; everything real but the clock, if asked, and what a password's
 * hash costs, if not asked: at its real cost it is most of the work of these tests.
 */
export async function startApp(
  overrides: Overrides = {},
  options: { fakeClock?: boolean; memory?: boolean; costlyPasswords?: boolean } = {},
): Promise<TestApp & AsyncDisposable> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-app-'))
  const clients: TestClient[] = []
  const logLines: Record<string, unknown>[] = []
  const fake = new FakeClock()
  const clock = options.fakeClock ? fake : systemClock
  const base = {
    mqtt: { port: 0 },
    http: { enabled: false },
    control: { socket: join(folder, 'control.sock') },
    store: storeOf(options.memory ? ':memory:' : join(folder, 'limb.sqlite')),
  }
  const values: Record<string, object> = {}
  for (const section of new Set([...Object.keys(base), ...Object.keys(overrides)])) {
    const override = overrides[section as keyof Overrides]
    if (Array.isArray(override)) values[section] = override
    else values[section] = { ...base[section as keyof typeof base], ...override }
  }
  const { config } = resolveConfig({ name: 'test', values, lineOf: () => undefined }, {})
  const log = createLog({
    level: 'debug',
    format: 'json',
    terminal: false,
    write: (line) => logLines.push(JSON.parse(line)),
  })
  const passwordCost = options.costlyPasswords ? PASSWORD_COST : CHEAP_PASSWORDS
  const start = () => startBridge({ config, log, clock, passwordCost })
  let bridge = await start()

  async function keep(client: Promise<TestClient>): Promise<TestClient> {
    const connected = await client
    clients.push(connected)
    return connected
  }

  const app: TestApp & AsyncDisposable = {
    get bridge() {
      return bridge
    },
    clock: fake,
    folder,
    logLines,
    device: (nodeId, key, more = {}) =>
      keep(
        connect(
          { port: bridge.mqtt.port },
          { username: nodeId, ...(key === undefined ? {} : { password: key }), ...more },
        ),
      ),
    principal: (name, password, more = {}) =>
      keep(connect({ port: bridge.mqtt.port }, { username: name, password, ...more })),
    admin: (more = {}) => keep(connect({ socket: bridge.control }, more)),
    async limb(nodeId, registration = REGISTRATION, key = keyOf(nodeId)) {
      const admin = await app.admin()
      const device = await app.device(nodeId, key)
      await device.subscribe(`limb/node/${nodeId}/pairing`)
      await device.publish(`limb/node/${nodeId}/register`, registration)
      const { json } = await device.next(`limb/node/${nodeId}/pairing`)
      await admin.do('admin', 'pairing/approve', { requestId: json.requestId })
      await device.next(`limb/node/${nodeId}/pairing`)
      await admin.end()
      return device
    },
    sql: (text) => askStored(config.store, text),
    async restart(changed = {}) {
      for (const [section, values] of Object.entries(changed))
        Object.assign(config[section as keyof Config], values)
      // The same port again, so that clients that reconnect by themselves find it.
      config.mqtt.port = bridge.mqtt.port
      await bridge.stop()
      bridge = await onFreePort(start)
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.mqtt.end(true)
      await bridge.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return app
}

/** Starts; while a program of another test has the port, which the system may give away, again and again. */
export async function onFreePort<T>(start: () => Promise<T>): Promise<T> {
  const end = performance.now() + patience(5000)
  for (;;) {
    try {
      return await start()
    } catch (error) {
      if (!/another program listens/.test(String(error)) || performance.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

export const REGISTRATION = {
  displayName: 'Front camera',
  platform: 'esp32',
  capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'leased' }],
  firmware: '1.2.0',
}

/** A device's own key. */
export function keyOf(nodeId: string): string {
  return `${nodeId}-${'k'.repeat(24)}`
}
