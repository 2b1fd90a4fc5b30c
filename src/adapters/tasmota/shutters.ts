import { type Aspect, fixedCommand, madeOf } from '../parts.ts'
import type { TasmotaFields, TasmotaTopics } from './fields.ts'
import { commandTo, stateToo, type TasmotaOutput } from './sends.ts'

/** Makes the shutters of a Tasmota device. Each takes two outputs that follow one another. */

/** The kind of an output in `rl`. */
const SHUTTER = 3

/** The bit of `sho` that says that 0 is open (`ShutterInvert`). */
const INVERTED = 1

export function shuttersOf(
  { sho }: TasmotaFields,
  topics: TasmotaTopics,
  kinds: readonly unknown[],
  titleOf: (output: number) => string,
): TasmotaOutput[] {
  const shutters: TasmotaOutput[] = []
  for (let i = 0; i + 1 < kinds.length; i++) {
    if (kinds[i] !== SHUTTER || kinds[i + 1] !== SHUTTER) continue
    const options = Array.isArray(sho) ? Number(sho[shutters.length]) : 0
    shutters.push(shutter(topics, shutters.length + 1, titleOf(i), (options & INVERTED) !== 0))
    i++
  }
  return shutters
}

function shutter(topics: TasmotaTopics, number: number, title: string, inverted: boolean): TasmotaOutput {
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
  const made = stateToo(madeOf(name, title, [position]), `${topics.telemetry}SENSOR`)
  const moves = (['Open', 'Close', 'Stop'] as const).map((move) => {
    const word = move.toLowerCase()
    const send = commandTo(topics, `Shutter${move}${number}`, { text: '' })
    return fixedCommand(`${name}.${word}`, `${title}: ${word}`, send)
  })
  return { name, ...made, commands: [...made.commands, ...moves] }
}
