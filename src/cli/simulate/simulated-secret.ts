import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { newKey } from '../../kernel/secrets.ts'

/**
 * The file of the secret from which pretended limbs make their keys, kept beside the control socket: with new keys
 * they would be strangers.
 */

const NAME = 'simulate-secret'

/** Returns the secret; undefined where nothing can be kept: no such folder, or not this user's. */
export function keptSecret(controlSocket: string): string | undefined {
  const file = join(dirname(controlSocket), NAME)
  try {
    writeFileSync(file, `${newKey()}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return undefined
  }
  try {
    // One that a full disk left empty would be no secret.
    return readFileSync(file, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
