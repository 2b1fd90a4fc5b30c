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
  readonly store: { readonly path: string }
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
      readonly replaced: string | null
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

/** The tools that work on the files of this machine, not through a bridge. */
export interface Maintenance {
  restore(from: string, to: string): Promise<RestoreOutcome>
  doctor(configFile: string | undefined): Promise<readonly CheckResult[]>
  /** `names` are added to those that the machine has. */
  initTls(folder: string, names: readonly string[]): Promise<TlsOutcome>
}

export interface CommandLineOptions {
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
}
