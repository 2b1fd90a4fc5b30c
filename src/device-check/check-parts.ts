import type { Bridge } from '../cli/session/session.ts'
import type { Clock } from '../kernel/clock.ts'
import type { Device } from './device.ts'
import type { Door } from './door.ts'
import type { Report } from './report.ts'
import type { Watch } from './watch.ts'

/** The parts that the steps of a check work with, and how long they wait. */

export interface Waits {
  /** The time for the first connection of the device. */
  readonly firstConnectionMs: number
  /** The time for each thing that a device does at once. */
  readonly answerMs: number
  /** The time for which a request is left pending. */
  readonly pendingMs: number
  /** The time for a device to come back. */
  readonly returnMs: number
  /** The time for a repeated invocation to be answered once more. */
  readonly repeatMs: number
  /** The time for which a rejected device is watched. */
  readonly rejectedMs: number
}

export const WAITS: Waits = {
  firstConnectionMs: 120_000,
  answerMs: 15_000,
  pendingMs: 3000,
  returnMs: 90_000,
  repeatMs: 3000,
  rejectedMs: 15_000,
}

export interface Wishes {
  /** The command to invoke; the check chooses one when absent. */
  readonly command?: string | undefined
  readonly params?: Readonly<Record<string, unknown>> | undefined
  /** Also tries what takes long: a bridge that falls silent. */
  readonly thorough: boolean
  /** Gives the device a new key. */
  readonly rotateKey: boolean
}

export interface CheckParts {
  readonly bridge: Bridge
  readonly door: Door
  readonly device: Device
  readonly report: Report
  readonly watch: Watch
  readonly clock: Clock
  readonly waits: Waits
  readonly wishes: Wishes
  /** Told what is done now. */
  readonly progress: (text: string) => void
}
