import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { type Clock, systemClock } from './clock.ts'

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'

function bootId(): string | undefined {
  try {
    return readFileSync(BOOT_ID_FILE, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** Makes the clock of a bridge: the system's, with the boot of the machine where that has a name. */
export function machineClock(): Clock {
  const id = bootId()
  return id === undefined ? systemClock : { ...systemClock, boot: { id, ms: () => uptime() * 1000 } }
}
