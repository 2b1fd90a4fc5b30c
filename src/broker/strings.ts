import { isUtf8 } from 'node:buffer'
import { hasUnwanted } from '../protocol/filters.ts'

/** MQTT's rules for strings and topic names, on bytes [MQTT-1.5.3, MQTT-4.7]. */

/** Returns whether the bytes are UTF-8 without control characters. ASCII costs one loop. */
export function isText(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    if (byte < 0x20 || byte > 0x7e) return isWideText(bytes.subarray(start, end))
  }
  return true
}

function isWideText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !hasUnwanted(bytes.toString('utf8'))
}

const HASH = 0x23
const PLUS = 0x2b

/** Returns whether the bytes are the name of a topic: text, not empty, no wildcard [MQTT-3.3.2-2, MQTT-4.7.3-1]. */
export function isTopicName(bytes: Buffer, start: number, end: number): boolean {
  if (start === end) return false
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    if (byte === HASH || byte === PLUS) return false
    if (byte < 0x20 || byte > 0x7e) {
      const rest = bytes.subarray(i, end)
      return !rest.includes(HASH) && !rest.includes(PLUS) && isWideText(bytes.subarray(start, end))
    }
  }
  return true
}

export function isTopic(topic: string): boolean {
  return topic !== '' && !/[+#]/.test(topic) && !hasUnwanted(topic) && topic.isWellFormed()
}

/** Returns whether a text, which was checked as such, can be the topic of an answer: no wildcard, not empty. */
export function isResponseTopic(topic: string): boolean {
  return topic !== '' && !topic.includes('+') && !topic.includes('#')
}
