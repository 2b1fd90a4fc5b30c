/** The fields of a message. */
export type TasmotaFields = Readonly<Record<string, unknown>>

/** The topics of a device: `%prefix%/%topic%/` with its three prefixes. */
export interface TasmotaTopics {
  readonly command: string
  readonly status: string
  readonly telemetry: string
}
