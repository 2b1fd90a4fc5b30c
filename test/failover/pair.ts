import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BridgeProcess, launchBridge, type Starting } from '../support/bridge-process.ts'
import { freePort } from '../support/free-port.ts'
import { type BridgePlace, until } from './cluster.ts'

/** Two bridges as two machines have them: a folder each, and the same database, secret and settings. */

export interface Slot extends BridgePlace {
  readonly name: string
  readonly folder: string
  starting: Starting | undefined
}

const SECRET = 's'.repeat(40)

export async function newSlot(name: string): Promise<Slot> {
  return { name, folder: '', mqtt: await freePort(), http: await freePort(), starting: undefined }
}

export function placed(slot: Slot, below: string): Slot {
  const folder = join(below, `bridge-${slot.name}`)
  mkdirSync(folder, { mode: 0o755 })
  writeFileSync(join(folder, 'store-secret'), `${SECRET}\n`)
  return { ...slot, folder }
}

/** Starts it, as a service manager does after each end. */
export function start(slot: Slot, url: string): void {
  slot.starting = launchBridge({
    folder: slot.folder,
    settings: {
      mqtt: { port: slot.mqtt },
      http: { port: slot.http, enabled: true },
      store: { kind: 'postgres', url, secretFile: join(slot.folder, 'store-secret') },
      presence: { heartbeatSeconds: 5, timeoutSeconds: 15, graceSeconds: 3 },
      lead: { fenceSeconds: 60 },
    },
    // A standby is ready when it leads.
    timeoutMs: 24 * 3600_000,
    hear: (line) => appendFileSync(join(slot.folder, 'log'), `${line}\n`),
  })
}

/** The series of `/metrics`; a process that is frozen does not answer. */
export async function reading(slot: Slot, series: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${slot.http}/metrics`, { signal: AbortSignal.timeout(2000) })
  const line = (await response.text()).split('\n').find((each) => each.startsWith(`${series} `))
  return Number(line?.slice(series.length) ?? Number.NaN)
}

export async function leaderOf(slots: readonly Slot[]): Promise<Slot> {
  for (const slot of slots) if ((await reading(slot, 'limb_leads').catch(() => 0)) === 1) return slot
  throw new Error('nobody leads')
}

export async function standbyIsThere(slot: Slot): Promise<void> {
  await until(`${slot.name} as a standby`, 120_000, async () => (await reading(slot, 'limb_leads')) === 0)
}

export async function processOf(slot: Slot): Promise<BridgeProcess> {
  if (slot.starting === undefined) throw new Error(`${slot.name} was not started`)
  return await slot.starting.ready
}
