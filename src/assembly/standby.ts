import { listenStandby } from '../broker/standby-door.ts'
import { fdsOf, type Inherited, NO_SOCKETS } from '../host/systemd/activation.ts'
import { type HttpServer, startHttp } from '../http/server.ts'
import { iso } from '../kernel/clock.ts'
import type { Leader, Leadership } from '../store/engine.ts'
import type { Build, Standby } from './parts.ts'
import { readinessNow } from './readings.ts'
import { httpLimits } from './settings.ts'

/** Another bridge leads: this one is up, knows who it is, and takes over when that one is gone. */

/** Takes the store, as a standby for as long as another bridge has it. */
export async function takeLead(build: Build, leadership: Leadership): Promise<void> {
  const { now, options } = build
  const { log, onStandby, clock } = options
  let opening: Promise<void> | undefined
  const cannotOpen = Promise.withResolvers<never>()
  let since = clock.monotonicMs()
  const lead = leadership.lead((leader) => {
    now.standby = textOf(leader)
    log.info({ leads: leader?.name }, now.standby)
    since = clock.monotonicMs()
    opening ??= openStandby(build, leadership)
    // Who cannot listen now could not when it takes over: it ends while it is not needed.
    opening.then(() => onStandby?.(now.standby ?? '')).catch(cannotOpen.reject)
  })
  await Promise.race([lead, cannotOpen.promise])
  if (opening === undefined) return
  now.standby = 'standby: this bridge takes over now'
  await opening
  log.info({ afterMs: Math.round(clock.monotonicMs() - since) }, 'this bridge leads now')
}

function textOf(leader: Leader | undefined): string {
  if (leader === undefined) return 'standby; who leads is not known: the database cannot be asked now'
  const { name, since } = leader
  return `standby; ${name} leads${since === undefined ? '' : ` since ${iso(since)}`}`
}

async function openStandby(build: Build, leadership: Leadership): Promise<void> {
  const { options, now, teardown } = build
  const { control } = options.config
  const inherited = options.inherited ?? NO_SOCKETS
  warnOfSockets(build, inherited)
  const text = () => `${now.standby}; ${leadership.heldLimbs} limbs are held ready here`
  // One that is handed over is kept for the bridge that leads: who closes it can listen on it no more.
  const isOwn = (name: 'control' | 'http') => fdsOf(inherited, name).length === 0
  const door = isOwn('control')
    ? await listenStandby(control.socket, Number.parseInt(control.mode, 8), text)
    : undefined
  let http: HttpServer | undefined
  const standby: Standby = {
    get httpPort() {
      return http?.port
    },
    get heldLimbs() {
      return leadership.heldLimbs
    },
    async close() {
      now.standbyDoors = undefined
      await door?.close()
      await http?.close()
    },
  }
  now.standbyDoors = standby
  teardown.add(() => now.standbyDoors?.close())
  http = isOwn('http') ? await openHealth(build) : undefined
  const at = http && { host: http.host, port: http.port }
  options.log.info(
    { control: control.socket, http: at ?? null },
    'this bridge is a standby: the listeners for limbs are closed, /healthz, /readyz, /metrics and the control socket say so',
  )
}

/** Health and metrics alone: everything else is the leader's. */
async function openHealth(build: Build): Promise<HttpServer | undefined> {
  const { options, now, metrics } = build
  const { config, log, clock } = options
  if (!config.http.enabled) return undefined
  const { minVersion } = config.tls
  const secure = config.http.tls ? now.certificates : undefined
  return await startHttp({
    ...config.http,
    tls: secure && { material: secure.material, minVersion, requiresCertificate: false },
    ...httpLimits(config),
    readiness: () => readinessNow(build),
    metrics,
    ports: undefined,
    console: undefined,
    attach: (stream) => stream.destroy(),
    log,
    clock,
  })
}

/** The kernel would accept limbs for a bridge that does not listen. */
function warnOfSockets({ options }: Build, { sockets }: Inherited): void {
  if (sockets.length === 0) return
  options.log.warn(
    {},
    'this bridge is a standby with sockets of the service manager: who connects there waits until it leads; each bridge of a pair ' +
      'is to open its own (high-availability.md among the documents says how)',
  )
}
