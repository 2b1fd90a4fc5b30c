import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Log } from '../../src/bridge/ports.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { type Database, type DatabaseOptions, openDatabase } from '../../src/store/sqlite/database.ts'

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} }

export function open(file: string, changes: Partial<DatabaseOptions> = {}): Database {
  return openDatabase({ file, clock: systemClock, log: silent, ...changes })
}

/** A path in a folder that is gone after the test. */
export function temporaryFile(name = 'limb.sqlite'): string {
  const folder = mkdtempSync(join(tmpdir(), 'limb-store-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, name)
}

/** Opened, and closed after the test. */
export function opened(file: string, changes: Partial<DatabaseOptions> = {}): Database {
  const database = open(file, changes)
  onTestFinished(() => database.close())
  return database
}
