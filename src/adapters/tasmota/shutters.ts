import { type Aspect, fixedCommand, madeOf } from '../parts.ts'
import type { TasmotaFields, TasmotaThing, TasmotaTopics } from './fields.ts'
import { commandTo, stateToo } from './sends.ts'

/** Makes the shutters of a Tasmota device. Each takes two outputs that follow one another. */

/** The kind of an output in `rl`. */
export const SHUTTER = 3

/** The bit of `sho` that says that 0 is open (`ShutterInvert`). */
const INVERTED = 1

const MAX_DEGREES = 360

interface Place {
  readonly topics: TasmotaTopics
  /** Counts from 1. */
  readonly number: number
  readonly title: string
}

interface Tilt {
  readonly minimum: number
  readonly maximum: number
}

export function shuttersOf(
  { sho, sht }: TasmotaFields,
  topics: TasmotaTopics,
  kinds: readonly unknown[],
  titleOf: (output: number) => string,
): TasmotaThing[] {
  const shutters: TasmotaThing[] = []
  for (let i = 0; i + 1 < kinds.length; i++) {
    if (kinds[i] !== SHUTTER || kinds[i + 1] !== SHUTTER) continue
    const index = shutters.length
    const options = Array.isArray(sho) ? Number(sho[index]) : 0
    const place = { topics, number: index + 1, title: titleOf(i) }
    shutters.push(shutter(place, (options & INVERTED) !== 0, tiltAt(sht, index)))
    i++
  }
  return shutters
}

/** The bounds of the slats in degrees; undefined for a shutter whose slats do not turn, or take no time to. */
function tiltAt(sht: unknown, index: number): Tilt | undefined {
  const given: unknown = Array.isArray(sht) ? sht[index] : undefined
  if (!Array.isArray(given)) return undefined
  const [first, last, duration]: unknown[] = given
  const ends = [first, last].filter((end) => typeof end === 'number' && Math.abs(end) <= MAX_DEGREES)
  const [minimum, maximum] = (ends as number[]).sort((a, b) => a - b)
  if (minimum === undefined || maximum === undefined || minimum === maximum) return undefined
  return typeof duration === 'number' && duration > 0 ? { minimum, maximum } : undefined
}

function tilt({ topics, number, title }: Place, bounds: Tilt): Aspect {
  return {
    property: `shutter${number}_tilt`,
    title: `${title}: tilt`,
    schema: { type: 'number', unit: 'deg', ...bounds },
    source: { topic: `${topics.status}RESULT`, pointer: `/Shutter${number}/Tilt` },
    param: 'tilt',
    send: commandTo(topics, `ShutterTilt${number}`, { param: 'tilt' }),
  }
}

function shutter(place: Place, inverted: boolean, tilted: Tilt | undefined): TasmotaThing {
  const { topics, number, title } = place
  const name = `shutter${number}`
  const turned = inverted ? { from: 100 } : {}
  const position: Aspect = {
    property: name,
    title,
    schema: { type: 'number', minimum: 0, maximum: 100 },
    deviceClass: 'shutter',
    source: { topic: `${topics.status}RESULT`, pointer: `/Shutter${number}/Position`, ...turned },
    param: 'position',
    send: commandTo(topics, `ShutterPosition${number}`, { param: 'position', ...turned }),
  }
  const made = stateToo(
    madeOf(name, title, [position, ...(tilted ? [tilt(place, tilted)] : [])]),
    `${topics.telemetry}SENSOR`,
  )
  const moves = (['Open', 'Close', 'Stop'] as const).map((move) => {
    const word = move.toLowerCase()
    const send = commandTo(topics, `Shutter${move}${number}`, { text: '' })
    return fixedCommand(`${name}.${word}`, `${title}: ${word}`, send)
  })
  return { name, ...made, commands: [...made.commands, ...moves] }
}
