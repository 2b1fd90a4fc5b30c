import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf, StartError } from '../../kernel/errors.ts'
import { makeFolder } from '../../kernel/folders.ts'
import { secretText } from '../../kernel/secret-text.ts'

/** Writes a file that only its owner can read, whole or not at all, and on disk when this returns. */
export function writeSecret(file: string, text: string): void {
  makeFolder(dirname(file), 0o700)
  const part = `${file}.part`
  const handle = openSync(part, 'w', 0o600)
  try {
    writeSync(handle, text)
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
  renameSync(part, file)
  const folder = openSync(dirname(file), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

const MASTER_BYTES = 32

/** Makes the secret. Throws an error that says what to do when it cannot be kept. */
function madeSecret(file: string): Uint8Array {
  const made = randomBytes(MASTER_BYTES)
  try {
    writeSecret(file, `${made.toString('hex')}\n`)
  } catch (error) {
    throw new StartError(
      `${file} cannot be made: ${messageOf(error)}. Its folder must be writable for the user that runs the bridge, on a disk with room.`,
      { cause: error },
    )
  }
  return made
}

/**
 * The bridge's own secret, made at the first start. Throws when the file is there and holds something else: going on
 * with a new one would silently end the secrets of all limbs.
 */
export function masterSecret(file: string): Uint8Array {
  let text: string
  try {
    text = secretText(readFileSync(file)).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new StartError(
        `${file} cannot be read: ${messageOf(error)}. It must belong to the user that runs the bridge.`,
        { cause: error },
      )
    }
    return madeSecret(file)
  }
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new StartError(
      `${file} does not hold the 64 hexadecimal digits that belong there; restore it, or remove it to have a new one made`,
    )
  }
  return Buffer.from(text, 'hex')
}
