import { isUtf8 } from 'node:buffer'

/** MQTT's rules for strings, topic names and filters [MQTT-1.5.3, MQTT-4.7]. Faults are fixed texts for the log. */

// Control characters and non-characters: MQTT lets a server close the connection for them [MQTT-1.5.3], and
// one in a retained topic puts clients that check them into a reconnect loop.
const UNWANTED = /[\p{Cc}\p{Noncharacter_Code_Point}]/u

export function hasUnwanted(text: string): boolean {
  return UNWANTED.test(text)
}

/** Whether the bytes are UTF-8 without control characters. ASCII costs one loop. */
export function isText(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    if (byte < 0x20 || byte > 0x7e) return isWideText(bytes.subarray(start, end))
  }
  return true
}

function isWideText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !UNWANTED.test(bytes.toString('utf8'))
}

const HASH = 0x23
const PLUS = 0x2b

/** Whether the bytes are the name of a topic: text, not empty, no wildcard [MQTT-3.3.2-2, MQTT-4.7.3-1]. */
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

/** Whether wildcards stand alone in their level, and `#` last [MQTT-4.7.1]. */
export function isFilter(filter: string): boolean {
  if (filter === '' || hasUnwanted(filter)) return false
  const levels = filter.split('/')
  return levels.every((level, i) => {
    if (level === '#') return i === levels.length - 1
    return level === '+' || !(level.includes('+') || level.includes('#'))
  })
}

export function isTopic(topic: string): boolean {
  return topic !== '' && !/[+#]/.test(topic) && !hasUnwanted(topic) && topic.isWellFormed()
}

/**
 * Whether some topic is matched by both filters. `$` topics are left out: nothing here grants them.
 */
export function filtersOverlap(one: string, other: string): boolean {
  const a = one.split('/')
  const b = other.split('/')
  for (let i = 0; ; i++) {
    const x = a[i]
    const y = b[i]
    if (x === '#' || y === '#') return true
    if (x === undefined || y === undefined) {
      // `a/#` matches `a` itself [MQTT-4.7.1-2].
      return x === y
    }
    if (x !== '+' && y !== '+' && x !== y) return false
  }
}
