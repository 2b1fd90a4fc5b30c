import type { Environment } from '../host/config/env.ts'
import type { ShownSetting } from '../host/config/show.ts'
import type { CheckResult } from '../host/doctor/check-result.ts'
import type { Clock } from '../kernel/clock.ts'

/** These are the things that the command line is given; it reaches for nothing of the process itself. */

export interface Input extends NodeJS.ReadableStream {
  readonly isTTY?: boolean | undefined
  setRawMode?(on: boolean): unknown
}

export interface OutputStream extends NodeJS.WritableStream {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

export interface Io {
  readonly stdin: Input
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly env: Environment
  /** Calls back at Ctrl-C and SIGTERM, and keeps the process alive until then; the returned function takes it off. */
  onInterrupt(listener: () => void): () => void
}

/** The slice of the configuration that is used here. */
export interface CliSettings {
  readonly mqtt: { readonly host: string; readonly port: number; readonly topicRoot: string }
  readonly control: { readonly socket: string }
  readonly store: { readonly kind: 'sqlite' | 'postgres'; readonly path: string }
}

export interface ShownSettings {
  readonly warnings: readonly string[]
  readonly settings: readonly ShownSetting[]
  /** YAML with each value's source. */
  readonly text: string
}

export type LoadedSettings =
  | {
      readonly ok: true
      readonly config: CliSettings
      /** Renders the settings, which only the commands of `config` need. */
      show(): Promise<ShownSettings>
    }
  | { readonly ok: false; readonly problems: readonly string[] }

export interface ConfigurationTools {
  /** `file` wins over LIMB_CONFIG; without both the defaults hold. */
  load(file: string | undefined, env: Environment): Promise<LoadedSettings>
}

export type RestoreOutcome =
  | {
      readonly ok: true
      readonly file: string
      /** The place of the database that was there before. */
      readonly replaced: string | undefined
      readonly version: number
      readonly nodes: number
    }
  | { readonly ok: false; readonly reason: string }

export type TlsOutcome =
  | {
      readonly ok: true
      /** The authority's certificate, which devices get. */
      readonly ca: string
      readonly cert: string
      readonly key: string
      readonly names: readonly string[]
      readonly until: Date
      /** The SHA-256 fingerprint of the authority. */
      readonly fingerprint: string
      /** False if the authority was there before. */
      readonly madeAuthority: boolean
    }
  | { readonly ok: false; readonly reason: string }

export interface StoreCopyRequest {
  /** A file of SQLite, or the URL of a server. */
  readonly from: string
  readonly to: string
  readonly configFile: string | undefined
}

export type StoreCopyOutcome =
  | {
      readonly ok: true
      /** Rows by table. */
      readonly rows: Readonly<Record<string, number>>
      readonly nodes: number
      readonly audit: { readonly rows: number; readonly lastSeq?: number }
      /** The outcome for the secret by which limbs with an HTTP server know the bridge. */
      readonly secret: 'copied' | 'none' | 'left'
    }
  | { readonly ok: false; readonly reason: string }

/** The tools that work on the files of this machine, not through a bridge. */
export interface Maintenance {
  restore(from: string, to: string): Promise<RestoreOutcome>
  doctor(configFile: string | undefined): Promise<readonly CheckResult[]>
  /** `names` are added to those that the machine has. */
  initTls(folder: string, names: readonly string[]): Promise<TlsOutcome>
  copyStore(request: StoreCopyRequest): Promise<StoreCopyOutcome>
}

export interface DeviceCheckOptions {
  readonly host: string
  readonly port: number
  /** The topic root. */
  readonly root: string
  readonly version: string
  /** The device to look at; the first that comes when absent. */
  readonly nodeId?: string | undefined
  readonly command?: string | undefined
  readonly params?: Readonly<Record<string, unknown>> | undefined
  /** The time to wait for the device. */
  readonly seconds: number
  readonly thorough: boolean
  readonly rotateKey: boolean
  readonly tls?: { readonly certFile: string; readonly keyFile: string } | undefined
  /** Ends the check early. */
  readonly signal: AbortSignal
  listening(port: number): void
  progress(text: string): void
}

/** Says what a check of a device found for one clause of the protocol. */
export interface CheckedClause {
  readonly clause: string
  readonly verdict: 'holds' | 'wrong' | 'advice' | 'not_tried'
  /** False: to break it is no mistake. */
  readonly must: boolean
  readonly text: string
  /** The heading in docs/protocol/limbs.md. */
  readonly section: string
  /** Says what was seen, or why it was not tried; some of it may be the device's own words. */
  readonly seen?: string
}

export type DeviceCheckOutcome =
  | {
      readonly ok: true
      /** False if no device connected. */
      readonly came: boolean
      readonly interrupted: boolean
      readonly nodeId: string | undefined
      readonly findings: readonly CheckedClause[]
    }
  | { readonly ok: false; readonly reason: string }

export interface CommandLineOptions {
  /** Plays the bridge for a device under development. */
  checkDevice(options: DeviceCheckOptions): Promise<DeviceCheckOutcome>
  /** Runs the bridge until it is stopped; resolves with the exit code. */
  serve(options: { configFile?: string; acceptOlder?: boolean }): Promise<number>
  readonly configuration: ConfigurationTools
  readonly maintenance: Maintenance
  readonly version: string
  /** The process's own when absent. */
  readonly io?: Io
  readonly clock?: Clock
}

/** The parts that every command works with. */
export interface CliContext {
  readonly io: Io
  readonly clock: Clock
  readonly configuration: ConfigurationTools
  readonly maintenance: Maintenance
  readonly version: string
  readonly serve: CommandLineOptions['serve']
  readonly checkDevice: CommandLineOptions['checkDevice']
}
