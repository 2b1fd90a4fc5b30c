import type { AdapterSend } from '../../protocol/adapter.ts'
import { type Aspect, fixedCommand, type Made, madeOf } from '../parts.ts'
import { readable } from '../texts.ts'
import type { TasmotaFields, TasmotaTopics } from './fields.ts'

/** Makes the outputs of a Tasmota device: relays, lights and shutters, whose answers come on `stat/…/RESULT`. */

/** The kinds of outputs that `rl` counts. A shutter takes two of them. */
const RELAY = 1
const LIGHT = 2
const SHUTTER = 3
const MAX_OUTPUTS = 32

type Output = Made & { readonly name: string }

interface Place {
  readonly topics: TasmotaTopics
  /** Counts from 1. */
  readonly number: number
  /** The name of its state: that of a single output has no number. */
  readonly state: string
  readonly title: string
}

export function outputsOf(config: TasmotaFields, topics: TasmotaTopics): Output[] {
  const { rl, fn } = config
  if (!Array.isArray(rl)) return []
  const used = rl.slice(0, MAX_OUTPUTS).flatMap((kind, i) => (kind === 0 ? [] : [{ kind, number: i + 1 }]))
  let halves = 0
  return used.flatMap(({ kind, number }) => {
    const named = Array.isArray(fn) ? readable(fn[number - 1], 60) : undefined
    const state = used.length === 1 ? 'POWER' : `POWER${number}`
    const place = { topics, number, state, title: named ?? `Output ${number}` }
    if (kind === RELAY) return [relay(place)]
    if (kind === LIGHT) return [light(place, Number(config.lt_st))]
    if (kind !== SHUTTER || ++halves % 2 === 0) return []
    return [shutter(topics, (halves + 1) / 2, place.title)]
  })
}

function send(topics: TasmotaTopics, command: string, more: Omit<AdapterSend, 'topic'>): AdapterSend {
  return { topic: `${topics.command}${command}`, answer: `${topics.status}RESULT`, ...more }
}

function power({ topics, number, state, title }: Place, deviceClass?: string): Aspect {
  return {
    property: `power${number}`,
    title,
    schema: { type: 'boolean' },
    deviceClass,
    source: { topic: `${topics.status}RESULT`, pointer: `/${state}`, words: { ON: true, OFF: false } },
    param: 'on',
    send: send(topics, `POWER${number}`, { param: 'on', words: { true: 'ON', false: 'OFF' } }),
  }
}

/** The state comes with each answer, and in the telemetry every few minutes. */
function alsoInState(made: Made, { telemetry }: TasmotaTopics): Made {
  const again = made.sources.map((source) => ({ ...source, topic: `${telemetry}STATE` }))
  return { ...made, sources: [...made.sources, ...again] }
}

function relay(place: Place): Output {
  const { topics, number, title } = place
  const name = `power${number}`
  const made = alsoInState(madeOf(name, title, [power(place)]), topics)
  const text = send(topics, `POWER${number}`, { text: 'TOGGLE' })
  return {
    name,
    ...made,
    commands: [...made.commands, fixedCommand(`${name}.toggle`, `${title}: toggle`, text)],
  }
}

/** `kind` is `lt_st`: 1 dims, 2 has a warmth, 3 and 4 have colours, 5 has both. */
function light(place: Place, kind: number): Output {
  const { topics, number, title } = place
  const name = `power${number}`
  const value = (param: string, command: string, schema: Aspect['schema']): Aspect => ({
    property: `${name}_${param}`,
    title: `${title}: ${param.replaceAll('_', ' ')}`,
    schema,
    source: { topic: `${topics.status}RESULT`, pointer: `/${command}` },
    param,
    send: send(topics, command, { param }),
  })
  const percent = { type: 'number', minimum: 0, maximum: 100, unit: '%' } as const
  const hex = { type: 'string', description: 'such as FF8800', maxLength: 16 } as const
  const made = madeOf(name, title, [
    power(place, 'light'),
    ...(kind >= 1 ? [value('brightness', 'Dimmer', percent)] : []),
    ...(kind === 2 || kind === 5
      ? [value('mireds', 'CT', { type: 'number', minimum: 153, maximum: 500 })]
      : []),
    ...(kind >= 3 ? [value('colour_hex', 'Color', hex)] : []),
  ])
  return { name, ...alsoInState(made, topics) }
}

function shutter(topics: TasmotaTopics, number: number, title: string): Output {
  const name = `shutter${number}`
  const made = madeOf(name, title, [
    {
      property: name,
      title,
      schema: { type: 'number', minimum: 0, maximum: 100 },
      deviceClass: 'shutter',
      source: { topic: `${topics.status}RESULT`, pointer: `/Shutter${number}/Position` },
      param: 'position',
      send: send(topics, `ShutterPosition${number}`, { param: 'position' }),
    },
  ])
  const moves = (['Open', 'Close', 'Stop'] as const).map((move) => {
    const word = move.toLowerCase()
    return fixedCommand(
      `${name}.${word}`,
      `${title}: ${word}`,
      send(topics, `Shutter${move}${number}`, { text: '' }),
    )
  })
  return { name, ...made, commands: [...made.commands, ...moves] }
}
