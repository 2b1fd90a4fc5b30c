import { LIMITS } from '../../protocol/limits.ts'
import { type Aspect, fixedCommand, type Made, madeOf } from '../parts.ts'
import { fanOf, hasFan } from './fans.ts'
import { optionOf, type TasmotaFields, type TasmotaThing, type TasmotaTopics, titleAt } from './fields.ts'
import { LIGHT, type Light, lightAt } from './lights.ts'
import { commandTo, stateToo } from './sends.ts'
import { SHUTTER, shuttersOf } from './shutters.ts'

/** Makes the outputs of a Tasmota device: relays, lights, a fan and shutters, whose answers come on `stat/…/RESULT`. */

/** The kind of an output in `rl`; the others stand with what is made of them. */
const RELAY = 1
const MAX_OUTPUTS = 32

interface Words {
  readonly off: string
  readonly on: string
  readonly toggle: string
}

interface Place {
  readonly topics: TasmotaTopics
  /** Counts from 1. */
  readonly number: number
  /** The name of its state: that of a single output has no number. */
  readonly state: string
  readonly title: string
  readonly words: Words
}

export function outputsOf(config: TasmotaFields, topics: TasmotaTopics): TasmotaThing[] {
  const { rl, fn } = config
  if (!Array.isArray(rl)) return []
  const kinds: unknown[] = rl.slice(0, MAX_OUTPUTS)
  const single = kinds.filter((kind) => kind !== 0).length === 1
  const words = wordsOf(config)
  const titleOf = (i: number) => titleAt(fn, i) ?? `Output ${i + 1}`
  const switched = kinds.flatMap((kind, i): TasmotaThing[] => {
    const number = i + 1
    const place = { topics, number, state: single ? 'POWER' : `POWER${number}`, title: titleOf(i), words }
    // Beside a fan stands its light, which has no dimmer.
    if (hasFan(config) && kind !== SHUTTER) return i === 0 && kind !== 0 ? [relay(place, 'light')] : []
    if (kind === RELAY) return [relay(place, optionOf(config, '30') ? 'light' : undefined)]
    return kind === LIGHT ? [light(place, lightAt(config, i - kinds.indexOf(LIGHT)))] : []
  })
  const shutters = shuttersOf(config, topics, kinds, titleOf)
  return [...switched, ...(hasFan(config) ? [fanOf(topics)] : []), ...shutters]
}

/** Returns the words of the device for off, on and toggle: `StateText1` to `StateText3`. */
function wordsOf({ state }: TasmotaFields): Words {
  const word = (i: number, preset: string) => {
    const given: unknown = Array.isArray(state) ? state[i] : undefined
    const fits = typeof given === 'string' && given !== '' && given.length <= LIMITS.availabilityWordChars
    return fits ? given : preset
  }
  return { off: word(0, 'OFF'), on: word(1, 'ON'), toggle: word(2, 'TOGGLE') }
}

function power({ topics, number, state, title, words }: Place, deviceClass?: string): Aspect {
  return {
    property: `power${number}`,
    title,
    schema: { type: 'boolean' },
    deviceClass,
    source: {
      topic: `${topics.status}RESULT`,
      pointer: `/${state}`,
      words: { [words.on]: true, [words.off]: false },
    },
    param: 'on',
    send: commandTo(topics, `POWER${number}`, {
      param: 'on',
      words: { true: words.on, false: words.off },
    }),
  }
}

function relay(place: Place, deviceClass: string | undefined): TasmotaThing {
  const { topics, number, title } = place
  const name = `power${number}`
  const made = stateToo(madeOf(name, title, [power(place, deviceClass)]), `${topics.telemetry}STATE`)
  const toggle = commandTo(topics, `POWER${number}`, { text: place.words.toggle })
  return {
    name,
    ...made,
    commands: [...made.commands, fixedCommand(`${name}.toggle`, `${title}: toggle`, toggle)],
  }
}

function light(place: Place, { dimmer, warmth, colour, colourEnd }: Light): TasmotaThing {
  const { topics, number, title } = place
  const name = `power${number}`
  const value = (param: string, command: string, schema: Aspect['schema'], after?: string): Aspect => ({
    property: `${name}_${param}`,
    title: `${title}: ${param.replaceAll('_', ' ')}`,
    schema,
    source: { topic: `${topics.status}RESULT`, pointer: `/${command}` },
    param,
    send: commandTo(topics, command, { param, ...(after === undefined ? {} : { after }) }),
  })
  const percent = { type: 'number', minimum: 0, maximum: 100, unit: '%' } as const
  const hex = { type: 'string', description: 'such as FF8800', maxLength: 16 } as const
  const made: Made = madeOf(name, title, [
    power(place, 'light'),
    ...(dimmer === undefined ? [] : [value('brightness', dimmer, percent)]),
    ...(warmth === undefined ? [] : [value('mireds', 'CT', { type: 'number', ...warmth })]),
    ...(colour ? [value('colour_hex', 'Color', hex, colourEnd)] : []),
  ])
  return { name, ...stateToo(made, `${topics.telemetry}STATE`) }
}
