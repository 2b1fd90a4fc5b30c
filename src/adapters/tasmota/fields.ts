import type { Made } from '../parts.ts'
import { readable } from '../texts.ts'

/** The fields of a message. */
export type TasmotaFields = Readonly<Record<string, unknown>>

/** The topics of a device: `%prefix%/%topic%/` with its three prefixes. */
export interface TasmotaTopics {
  readonly command: string
  readonly status: string
  readonly telemetry: string
}

/** Is made of one thing of a device, with the name that tells it from the others there. */
export type TasmotaThing = Made & { readonly name: string }

/** Tells whether an option of the device is set: `SetOption30` is `so["30"]`. */
export function optionOf({ so }: TasmotaFields, name: string): boolean {
  return typeof so === 'object' && so !== null && Object.hasOwn(so, name) && (so as TasmotaFields)[name] === 1
}

/** Returns the name that a person gave to one of the outputs or switches; undefined when there is none. */
export function titleAt(names: unknown, index: number): string | undefined {
  return Array.isArray(names) ? readable(names[index], 60) : undefined
}
