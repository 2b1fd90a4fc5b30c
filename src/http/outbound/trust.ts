import { statSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
import { trustedAuthorities, trustedContext } from '../../kernel/authorities.ts'
import { messageOf } from '../../kernel/errors.ts'
import { authoritiesIn } from '../../kernel/pem.ts'

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
        this.#context = createSecureContext({ ca: [...trustedAuthorities(), ...authoritiesIn(caFile)] })
        this.#state = state
      }
      return this.#context
    } catch (error) {
      throw new Error(`${this.#setting}: cannot use ${caFile} (${messageOf(error)})`, { cause: error })
    }
  }
}
