import type { Config } from '../host/config/config.ts'
import type { HostLog } from '../host/log/log.ts'
import type { Inherited } from '../host/systemd/activation.ts'
import type { Clock } from '../kernel/clock.ts'

export interface AppOptions {
  readonly config: Config
  readonly log: HostLog
  readonly clock: Clock
  readonly version?: string
  /** A database that lacks what was acknowledged is used all the same. */
  readonly acceptOlder?: boolean
  /** Listening sockets of the service manager's; what is absent the bridge opens itself. */
  readonly inherited?: Inherited | undefined
  /** The password of `admin`, at the first start; a new one is made otherwise. */
  readonly adminPassword?: string | undefined
  /** The cost of the hashes of new passwords; absent: `PASSWORD_COST`, and nothing less outside a test. */
  readonly passwordCost?: number
  /** Called when another bridge leads, and when it is another one then, with the words for people; this one waits. */
  onStandby?(text: string): void
}

export interface RunningBridge {
  readonly mqtt: { readonly host: string; readonly port: number }
  readonly tls: { readonly host: string; readonly port: number } | undefined
  readonly http:
    | { readonly scheme: 'http' | 'https'; readonly host: string; readonly port: number }
    | undefined
  /** Path of the control socket. */
  readonly control: string
  /**
   * The place of the first password of `admin`, if `inFile`; it was made, or given, just now at the `firstStart`. A
   * start that failed after that was the first one all the same. `replacesLost`: there was a database before, and it
   * is gone.
   */
  readonly adminPassword: {
    readonly file: string
    readonly firstStart: boolean
    readonly inFile: boolean
    /** The file holds another password than that of `admin`. */
    readonly isStale: boolean
    readonly replacesLost: boolean
    /** The start has succeeded and was reported: the next one is no first start. */
    welcomed(): void
  }
  /** The secret behind the `#` of the link that sets the password of `admin`, at a first start; else undefined. */
  readonly firstStartSecret: string | undefined
  /** Reads the certificate files again. Never rejects: a bad new certificate is told, the old one stays. */
  reloadCertificates(): Promise<void>
  /** One line for people: what there is and how it is. */
  status(): string
  /** Resolves when database and broker have answered; rejects when the database says that it cannot be read. */
  probe(): Promise<void>
  /**
   * Takes over the live settings (host/live-settings.ts); the others are looked at when the bridge starts. Called at
   * every reload, whether a setting changed or not: what files they name is to be read again here.
   */
  apply(config: Config): void
  /** Resolves, with why, when this bridge has the database no more: it must end at once, and tell nobody. */
  readonly lost: Promise<string>
  /** Listeners closed, statuses offline, queues drained, database closed. */
  stop(): Promise<void>
}
