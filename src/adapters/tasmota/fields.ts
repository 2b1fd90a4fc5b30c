/** The fields of a message. */
export type TasmotaFields = Readonly<Record<string, unknown>>

/** The topics of a device: `%prefix%/%topic%/` with its three prefixes. */
export interface TasmotaTopics {
  readonly command: string
  readonly status: string
  readonly telemetry: string
}

/** Tells whether an option of the device is set: `SetOption30` is `so["30"]`. */
export function optionOf({ so }: TasmotaFields, name: string): boolean {
  return typeof so === 'object' && so !== null && Object.hasOwn(so, name) && (so as TasmotaFields)[name] === 1
}
