import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../kernel/errors.ts'
import { secretText } from '../../kernel/secret-text.ts'

/** The beginning of a path that stands for the folder of the service's credentials. */
export const CREDENTIALS_PREFIX = '%d/'

/** A file of secrets is small; more is another file. */
const MAX_SECRET_BYTES = 16_384

/**
 * The lines of a file with a secret that are not empty. `%d/` at the beginning of the path is the folder of the
 * credentials that the service manager hands over, as in its own units.
 */
export function secretLines(file: string): readonly string[] {
  return secretText(readSecret(credentialPath(file, process.env.CREDENTIALS_DIRECTORY)))
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

function credentialPath(file: string, folder: string | undefined): string {
  if (!file.startsWith(CREDENTIALS_PREFIX)) return file
  if (!folder) throw new Error(`${file}: the service manager hands over no credentials (LoadCredential=)`)
  return join(folder, file.slice(CREDENTIALS_PREFIX.length))
}

function readSecret(file: string): Buffer {
  try {
    if (statSync(file).size > MAX_SECRET_BYTES) throw new Error(`it has more than ${MAX_SECRET_BYTES} bytes`)
    return readFileSync(file)
  } catch (error) {
    throw new Error(`${file} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}
