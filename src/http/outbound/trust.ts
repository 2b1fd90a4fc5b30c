import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
import { trustedAuthorities, trustedContext } from '../../kernel/authorities.ts'
import { messageOf } from '../../kernel/errors.ts'

/** Knows whom certificates may come from: the authorities of the machine, and those of the file of a setting. */
export class ServerTrust {
  readonly #setting: string
  #context: SecureContext | undefined
  #state = ''

  constructor(setting: string) {
    this.#setting = setting
  }

  /** Made anew when the file has changed. Throws an error that names the setting. */
  contextFor(caFile: string | null): SecureContext {
    if (caFile === null) return trustedContext()
    try {
      const { mtimeMs, size, ino } = statSync(caFile)
      const state = `${caFile} ${mtimeMs} ${size} ${ino}`
      if (this.#context === undefined || this.#state !== state) {
        this.#context = createSecureContext({ ca: [...trustedAuthorities(), ...certificatesOf(caFile)] })
        this.#state = state
      }
      return this.#context
    } catch (error) {
      throw new Error(`${this.#setting}: cannot use ${caFile} (${messageOf(error)})`, { cause: error })
    }
  }
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** OpenSSL would take a file without any for one that adds nobody, silently. */
function certificatesOf(path: string): string[] {
  const found = readFileSync(path, 'latin1').match(PEM_CERTIFICATE) ?? []
  if (found.length === 0) throw new Error('it has no PEM certificate in it')
  return found.map((text) => new X509Certificate(text).toString())
}
