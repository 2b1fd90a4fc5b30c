import type { TasmotaFields } from './fields.ts'

/** Reads which of its values a light of Tasmota has, from its subtype and the options that split it. */

/** The kind of an output in `rl`. */
export const LIGHT = 2

/** The subtypes of `lt_st`. */
const COLD_WARM = 2
const RGB = 3
const RGB_WHITE = 4
const RGB_COLD_WARM = 5

const WARMTH = { minimum: 153, maximum: 500 } as const
/** The bounds with `SetOption82`. */
const WARMTH_REDUCED = { minimum: 200, maximum: 380 } as const

export interface Light {
  /** The command of its brightness; undefined: it has none. */
  readonly dimmer?: string
  /** The bounds of its warmth in mired; undefined: it has none. */
  readonly warmth?: { readonly minimum: number; readonly maximum: number }
  readonly colour: boolean
  /** Goes behind a colour: `=` leaves the white channels of a split light as they are. */
  readonly colourEnd?: string
}

/** `index` counts the lights of the device from 0. */
export function lightAt({ lt_st, lk, so }: TasmotaFields, index: number): Light {
  const subtype = Number(lt_st)
  const options = typeof so === 'object' && so !== null ? (so as TasmotaFields) : {}
  // SetOption68: each channel is a light of its own.
  if (options['68'] === 1) return { dimmer: `Channel${index + 1}`, colour: false }
  const warmth = options['82'] === 1 ? WARMTH_REDUCED : WARMTH
  // SetOption37 above 127: colours are one light, and white is another.
  if (lk === 0 && subtype >= RGB_WHITE && index < 2) {
    if (index === 0) return { dimmer: 'Dimmer1', colour: true, colourEnd: '=' }
    return { dimmer: 'Dimmer2', colour: false, ...(subtype === RGB_COLD_WARM ? { warmth } : {}) }
  }
  return {
    ...(subtype >= 1 ? { dimmer: 'Dimmer' } : {}),
    ...(subtype === COLD_WARM || subtype === RGB_COLD_WARM ? { warmth } : {}),
    colour: subtype >= RGB,
  }
}
