import { madeOf } from '../parts.ts'
import { optionOf, type TasmotaFields, type TasmotaThing, type TasmotaTopics, titleAt } from './fields.ts'

/** Makes the buttons and switches of a Tasmota device: what a person presses, told on `stat/…/RESULT`. */

/** Buttons tell their presses with `SetOption73`, and switches their state with `SetOption114`. */
const TELLS_BUTTONS = '73'
const TELLS_SWITCHES = '114'
/** A button knows one press alone with `SetOption13`. */
const SINGLE_PRESS = '13'
const PRESSES = ['SINGLE', 'DOUBLE', 'TRIPLE', 'QUAD', 'PENTA', 'HOLD'] as const
const MAX_INPUTS = 16

export function inputsOf(config: TasmotaFields, topics: TasmotaTopics): TasmotaThing[] {
  return [...buttonsOf(config, topics), ...switchesOf(config, topics)]
}

function buttonsOf(config: TasmotaFields, topics: TasmotaTopics): TasmotaThing[] {
  const { btn } = config
  if (!Array.isArray(btn) || !optionOf(config, TELLS_BUTTONS)) return []
  const presses = optionOf(config, SINGLE_PRESS) ? PRESSES.slice(0, 1) : [...PRESSES]
  return btn.slice(0, MAX_INPUTS).flatMap((kind: unknown, i): TasmotaThing[] => {
    if (typeof kind !== 'number' || kind === 0) return []
    const number = i + 1
    const [name, title] = [`button${number}`, `Button ${number}`]
    const source = { topic: `${topics.status}RESULT`, pointer: `/Button${number}/Action` }
    const schema = { type: 'string', enum: presses } as const
    return [
      { name, ...madeOf(name, title, [{ property: name, title, schema, deviceClass: 'button', source }]) },
    ]
  })
}

/** A switch says what it is in the telemetry, and at once where it tells. */
function switchesOf(config: TasmotaFields, topics: TasmotaTopics): TasmotaThing[] {
  const { swc, swn } = config
  if (!Array.isArray(swc)) return []
  const words = { ON: true, OFF: false }
  return swc.slice(0, MAX_INPUTS).flatMap((mode: unknown, i): TasmotaThing[] => {
    if (typeof mode !== 'number' || mode < 0) return []
    const number = i + 1
    const name = `switch${number}`
    const title = titleAt(swn, i) ?? `Switch ${number}`
    const source = { topic: `${topics.telemetry}SENSOR`, pointer: `/Switch${number}`, words }
    const made = madeOf(name, title, [{ property: name, title, schema: { type: 'boolean' }, source }])
    const onResult = {
      property: name,
      topic: `${topics.status}RESULT`,
      pointer: `/Switch${number}/Action`,
      words,
    }
    return [
      {
        name,
        ...made,
        sources: optionOf(config, TELLS_SWITCHES) ? [...made.sources, onResult] : made.sources,
      },
    ]
  })
}
