import type { AdapterSend } from '../../protocol/adapter.ts'
import type { Made } from '../parts.ts'
import type { TasmotaTopics } from './fields.ts'

/** Has what all outputs of a Tasmota device share: how they are commanded, and where their state is said again. */

export function commandTo(
  topics: TasmotaTopics,
  command: string,
  more: Omit<AdapterSend, 'topic'>,
): AdapterSend {
  return { topic: `${topics.command}${command}`, answer: `${topics.status}RESULT`, ...more }
}

/** The state comes with each answer, and in the telemetry every few minutes. */
export function stateToo(made: Made, topic: string): Made {
  return { ...made, sources: [...made.sources, ...made.sources.map((source) => ({ ...source, topic }))] }
}
