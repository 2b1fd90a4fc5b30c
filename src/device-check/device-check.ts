import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startBridge } from '../app.ts'
import type { DeviceCheckOptions, DeviceCheckOutcome } from '../cli/context.ts'
import { type Bridge, openBridge } from '../cli/session/session.ts'
import { resolveConfig } from '../host/config/config.ts'
import { createLog } from '../host/log/log.ts'
import { systemClock } from '../kernel/clock.ts'
import { StartError } from '../kernel/errors.ts'
import { Teardown } from '../kernel/teardown.ts'
import { topicsOf } from '../protocol/topics.ts'
import { WAITS, type Waits } from './check-parts.ts'
import { CLAUSE_BY_ID } from './clauses.ts'
import { Device } from './device.ts'
import { Door, type DoorEvents } from './door.ts'
import { Report } from './report.ts'
import { Scenario } from './scenario.ts'
import { Watch } from './watch.ts'

/**
 * `device check`: a whole bridge in memory, with nobody in it but the device under development, behind a door that looks at
 * what the two say to each other.
 */

/** Runs one check; resolves when it has come to its end, or as far as the device came. */
export async function checkDevice(options: DeviceCheckOptions): Promise<DeviceCheckOutcome> {
  const teardown = new Teardown()
  try {
    const bridge = await privateBridge(options, teardown)
    return await checkAt(bridge, options, { ...WAITS, firstConnectionMs: options.seconds * 1000 })
  } catch (error) {
    if (error instanceof StartError) return { ok: false, reason: error.message }
    throw error
  } finally {
    await teardown.run()
  }
}

/** Runs one check before a bridge that is there. @throws StartError when the port cannot be listened on. */
export async function checkAt(
  { port: bridgePort, bridge }: PrivateBridge,
  options: DeviceCheckOptions,
  waits: Waits,
): Promise<DeviceCheckOutcome> {
  const clock = systemClock
  const watch = new Watch(clock)
  const report = new Report((clause, seen) =>
    options.progress(`${CLAUSE_BY_ID.get(clause)?.must ? 'wrong' : 'advice'}: ${clause}: ${seen}`),
  )
  const device = new Device(topicsOf(options.root), report, () => clock.monotonicMs(), options.nodeId)
  const then =
    <T extends readonly unknown[]>(look: (...args: T) => void) =>
    (...args: T) => {
      look(...args)
      watch.poke()
    }
  const { host, port, tls, progress, signal } = options
  const events: DoorEvents = {
    arrived: then((turnedAway) => device.arrived(turnedAway)),
    fromDevice: then((connection, packet) => device.fromDevice(connection, packet)),
    toDevice: then((connection, packet) => device.toDevice(connection, packet)),
    closed: then((connection) => device.closed(connection)),
    refused: then((why) => {
      device.refusedOverHttp = why
      progress(why)
    }),
  }
  const door = await Door.open({ host, port, tls, bridgePort, events, clock })
  const end = () => watch.end()
  signal.addEventListener('abort', end, { once: true })
  try {
    options.listening(door.port)
    const parts = { bridge, door, device, report, watch, clock, waits, wishes: options, progress }
    const came = await new Scenario(parts).run()
    return { ok: true, came, interrupted: watch.ended, nodeId: device.nodeId, findings: report.findings() }
  } finally {
    signal.removeEventListener('abort', end)
    await door.close()
  }
}

export interface PrivateBridge {
  readonly port: number
  readonly bridge: Bridge
}

/** Starts a bridge that nobody but this process reaches, and that forgets everything. */
export async function privateBridge(
  { root, version }: Pick<DeviceCheckOptions, 'root' | 'version'>,
  teardown: Teardown,
): Promise<PrivateBridge> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-check-'))
  teardown.add(() => rmSync(folder, { recursive: true, force: true }))
  const socket = join(folder, 'control.sock')
  const values = {
    // The door says where the device is.
    mqtt: { host: '127.0.0.1', port: 0, topicRoot: root, proxyNetworks: ['127.0.0.1'] },
    http: { enabled: false },
    control: { socket },
    store: { path: ':memory:' },
    presence: { heartbeatSeconds: 5, timeoutSeconds: 15 },
  }
  const { config } = resolveConfig({ name: 'device check', values, lineOf: () => undefined }, {})
  const log = createLog({ level: 'fatal', format: 'json', terminal: false, write: () => {} })
  const running = await startBridge({ config, log, clock: systemClock, version })
  teardown.add(() => running.stop())
  const target = {
    endpoint: { kind: 'socket', path: running.control },
    principal: 'admin',
    password: undefined,
    root,
  } as const
  const bridge = await openBridge(target, { clock: systemClock })
  teardown.add(() => bridge.close())
  // Every invocation then has a fence, and none waits for a person.
  await bridge.request('policy/set', { principal: 'admin', nodeId: '*', capability: '*', level: 'leased' })
  return { port: running.mqtt.port, bridge }
}
