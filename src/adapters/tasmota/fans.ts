import { type Aspect, madeOf } from '../parts.ts'
import type { TasmotaFields, TasmotaThing, TasmotaTopics } from './fields.ts'
import { commandTo, stateToo } from './sends.ts'

/** Makes the fan of a device that has one (`if`): a ceiling fan of three speeds, beside its light. */

const SPEEDS = { minimum: 0, maximum: 3 } as const
/** The speed of a fan that is switched on by who names none. */
const MEDIUM = '2'

export function hasFan(config: TasmotaFields): boolean {
  return config.if === 1
}

export function fanOf(topics: TasmotaTopics): TasmotaThing {
  const name = 'fan'
  const title = 'Fan'
  const source = { topic: `${topics.status}RESULT`, pointer: '/FanSpeed' }
  const on: Aspect = {
    property: name,
    title,
    schema: { type: 'boolean' },
    deviceClass: 'fan',
    source: { ...source, words: { 0: false, 1: true, 2: true, 3: true } },
    param: 'on',
    send: commandTo(topics, 'FanSpeed', { param: 'on', words: { true: MEDIUM, false: '0' } }),
  }
  const speed: Aspect = {
    property: 'fan_speed',
    title: 'Fan: speed',
    schema: { type: 'integer', ...SPEEDS },
    source,
    param: 'speed',
    send: commandTo(topics, 'FanSpeed', { param: 'speed' }),
  }
  return { name, ...stateToo(madeOf(name, title, [on, speed]), `${topics.telemetry}STATE`) }
}
