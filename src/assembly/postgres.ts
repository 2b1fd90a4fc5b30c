import { isLoopback } from '../host/config/checks.ts'
import type { Config } from '../host/config/config.ts'
import { secretLines } from '../host/config/secret-lines.ts'
import { trustedAuthorities } from '../kernel/authorities.ts'
import { messageOf, StartError } from '../kernel/errors.ts'
import { authoritiesIn } from '../kernel/pem.ts'
import { type Server, serverOf } from '../store/postgres/server.ts'

/** Reads from the configuration what the store on PostgreSQL needs. Nothing of `pg` is loaded here. */

/** Says how the server is reached. Throws an error that names the setting. */
export function serverFrom(store: Config['store']): () => Server {
  const { url, passwordFile, caFile } = store
  if (url === null) throw new StartError('store.url is needed with store.kind: postgres')
  return () =>
    serverOf({
      url,
      password: () => (passwordFile === null ? undefined : firstLine('store.passwordFile', passwordFile)),
      authorities: usesTls(store, url)
        ? () => (caFile === null ? trustedAuthorities() : authoritiesOf(caFile))
        : undefined,
    })
}

function usesTls({ caFile, allowPlaintext }: Config['store'], url: string): boolean {
  const { hostname, searchParams } = new URL(url)
  if (searchParams.has('host')) return false
  return caFile !== null || !(allowPlaintext || isLoopback(hostname.replace(/^\[|\]$/g, '')))
}

function authoritiesOf(caFile: string): string[] {
  try {
    return authoritiesIn(caFile)
  } catch (error) {
    throw new StartError(`store.caFile: cannot use ${caFile}: ${messageOf(error)}`, { cause: error })
  }
}

const MIN_SECRET_CHARS = 32

/** Returns the secret under which those of the bridge are sealed; undefined: they lie in files. */
export function sealingSecret({ secretFile }: Config['store']): string | undefined {
  if (secretFile === null) return undefined
  const secret = firstLine('store.secretFile', secretFile)
  if (secret.length >= MIN_SECRET_CHARS) return secret
  throw new StartError(
    `store.secretFile: the first line of ${secretFile} has fewer than ${MIN_SECRET_CHARS} characters; \`openssl rand -hex 32\` makes one`,
  )
}

function firstLine(setting: string, file: string): string {
  let lines: readonly string[]
  try {
    lines = secretLines(file)
  } catch (error) {
    throw new StartError(`${setting}: ${messageOf(error)}`, { cause: error })
  }
  const [line] = lines
  if (line === undefined) throw new StartError(`${setting}: ${file} has no line with anything in it`)
  return line
}
