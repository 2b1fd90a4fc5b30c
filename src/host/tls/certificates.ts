import type { SecureContextOptions } from 'node:tls'
import type { Log } from '../../bridge/ports.ts'
import { type Clock, iso } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { type CertificateFiles, type CheckedCertificate, checkFiles, readFiles } from './certificate-files.ts'
import type { OwnCertificate } from './own-authority.ts'

/** The certificate in use: it is looked at again and again, and replaced while sessions stay. */

export interface CertificatesOptions {
  readonly files: CertificateFiles
  readonly log: Log
  readonly clock: Clock
  /** The certificate's maker where it is the bridge's own authority; undefined where something else renews it. */
  readonly own?: OwnCertificate | undefined
}

/** Renewal tools write the files within moments; nobody waits for them. */
const LOOK_MS = 10_000
const DAY_MS = 86_400_000
const RETRY_MS = 3_600_000
/** Told once each, and once more after a restart. */
const WARN_DAYS = [30, 7, 1, 0] as const

type Material = CheckedCertificate['material']

export class Certificates {
  readonly #options: CertificatesOptions
  #current: CheckedCertificate
  #fingerprint: string
  /** The material that was looked at and refused last: it is logged once. */
  #refused = ''
  #uses: ((material: Material) => void)[] = []
  #warnedDays = Infinity
  #warnedFaults = false
  #cancel: (() => void) | undefined
  #stopped = false
  readonly reloads = { ok: 0, failed: 0 }
  #renewAtMs = 0

  private constructor(options: CertificatesOptions, current: CheckedCertificate, fingerprint: string) {
    this.#options = options
    this.#current = current
    this.#fingerprint = fingerprint
  }

  /** Rejects with a text that names the key of the configuration. */
  static async load(options: CertificatesOptions): Promise<Certificates> {
    const renewed = await renew(options)
    const read = await readFiles(options.files)
    const certificates = new Certificates(options, checkFiles(read, options.files), read.fingerprint)
    certificates.#renewAtMs = renewed
    certificates.#warn()
    certificates.#lookLater()
    return certificates
  }

  get material(): SecureContextOptions {
    return this.#current.material
  }

  get notAfterMs(): number {
    return this.#current.notAfterMs
  }

  /** `use` is called with every certificate that comes after the present one. */
  onChange(use: (material: Material) => void): void {
    this.#uses.push(use)
  }

  /** Takes over what is in the files now. Never rejects: a bad new one is told, and the old one stays. */
  async reload(): Promise<void> {
    this.#refused = ''
    await this.#look()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
    this.#uses = []
  }

  #lookLater(): void {
    if (this.#stopped) return
    this.#cancel = this.#options.clock.after(LOOK_MS, () => {
      this.#warn()
      void this.#look().then(() => this.#lookLater())
    })
  }

  async #look(): Promise<void> {
    const { files, log, clock } = this.#options
    if (clock.wallMs() >= this.#renewAtMs) this.#renewAtMs = await renew(this.#options)
    let fingerprint = 'unreadable'
    try {
      const read = await readFiles(files)
      fingerprint = read.fingerprint
      if (this.#stopped || fingerprint === this.#fingerprint || fingerprint === this.#refused) return
      this.#take(checkFiles(read, files), fingerprint)
    } catch (error) {
      if (fingerprint === this.#refused) return
      this.#refused = fingerprint
      this.reloads.failed++
      const until = iso(this.#current.notAfterMs)
      log.error(
        { err: error, until },
        `the new certificate is not used, the old one stays: ${messageOf(error)}`,
      )
    }
  }

  #take(next: CheckedCertificate, fingerprint: string): void {
    const { clock, log } = this.#options
    const now = clock.wallMs()
    if (next.notAfterMs <= now && this.#current.notAfterMs > now) {
      throw new Error(`${whose(next)} ended on ${iso(next.notAfterMs)}`)
    }
    if (next.notBeforeMs > now && this.#current.notBeforeMs <= now) {
      throw new Error(`it is valid from ${iso(next.notBeforeMs)} on`)
    }
    for (const use of this.#uses) use(next.material)
    this.#current = next
    this.#fingerprint = fingerprint
    this.#refused = ''
    this.#warnedDays = Infinity
    this.#warnedFaults = false
    this.reloads.ok++
    log.info({ subject: next.subject, until: iso(next.notAfterMs) }, 'a new certificate is in use')
    this.#warn()
  }

  #warn(): void {
    const { clock, log, files } = this.#options
    const { notAfterMs, notBeforeMs, faults, subject } = this.#current
    if (!this.#warnedFaults) {
      this.#warnedFaults = true
      for (const fault of faults) log.warn({ subject }, `the certificate in ${files.certFile} ${fault}`)
      if (notBeforeMs > clock.wallMs()) {
        const from = `is valid from ${iso(notBeforeMs)} on: clients refuse it before; is the clock right?`
        log.error({ subject, from: iso(notBeforeMs) }, `the certificate in ${files.certFile} ${from}`)
      }
    }
    const daysLeft = (notAfterMs - clock.wallMs()) / DAY_MS
    const due = WARN_DAYS.filter((days) => daysLeft <= days).at(-1)
    if (due === undefined || due >= this.#warnedDays) return
    this.#warnedDays = due
    const until = iso(notAfterMs)
    const what = due === 0 ? `ended on ${until}: clients refuse it` : `ends on ${until}`
    const message = `${whose(this.#current)} in ${files.certFile} ${what}; renew it`
    log[due <= 1 ? 'error' : 'warn']({ subject, until, daysLeft: Math.floor(daysLeft) }, message)
  }
}

/** Names the certificate of the chain that ends first. */
function whose({ endsFirst }: CheckedCertificate): string {
  return endsFirst === undefined ? 'the certificate' : `the certificate ${endsFirst}, which the chain needs,`
}

/** Renews what the bridge's own authority has made, if it is due. Returns when to look again. */
async function renew({ own, clock, log, files }: CertificatesOptions): Promise<number> {
  const now = clock.wallMs()
  if (own === undefined) return Number.POSITIVE_INFINITY
  try {
    const why = await own.renewIfDue(now)
    if (why !== undefined) log.info({ file: files.certFile }, `the certificate was renewed: ${why}`)
    return now + DAY_MS
  } catch (error) {
    log.error(
      { err: error },
      `the certificate in ${files.certFile} could not be renewed: ${messageOf(error)}`,
    )
    return now + RETRY_MS
  }
}
