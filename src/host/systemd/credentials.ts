import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { secretText } from '../../kernel/secret-text.ts'
import type { Environment } from '../config/env.ts'

/** Secrets that the service manager hands over as files (systemd's LoadCredential=), readable by this service alone. */

const CREDENTIALS = ['admin-password'] as const
export type CredentialName = (typeof CREDENTIALS)[number]

/** The text without a byte order mark and line feeds at its end; undefined when there is none. Throws when it cannot be read. */
export function credential(env: Environment, name: CredentialName): string | undefined {
  const folder = env.CREDENTIALS_DIRECTORY
  if (!folder) return undefined
  try {
    return secretText(readFileSync(join(folder, name)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
