/** MQTT's rules for topic filters [MQTT-4.7], for the broker and for who writes filters into a configuration. */

// Control characters and non-characters: MQTT lets a server close the connection for them [MQTT-1.5.3], and
// one in a retained topic puts clients that check them into a reconnect loop.
const UNWANTED = /[\p{Cc}\p{Noncharacter_Code_Point}]/u

export function hasUnwanted(text: string): boolean {
  return UNWANTED.test(text)
}

/** Returns whether wildcards stand alone in their level, and `#` last [MQTT-4.7.1]. */
export function isFilter(filter: string): boolean {
  if (filter === '' || hasUnwanted(filter)) return false
  const levels = filter.split('/')
  return levels.every((level, i) => {
    if (level === '#') return i === levels.length - 1
    return level === '+' || !(level.includes('+') || level.includes('#'))
  })
}

/**
 * The filter of a shared subscription, `$share/group/filter`; undefined for any other filter, and an empty text for one
 * whose form is wrong [MQTT-4.8.2-1].
 */
export function sharedFilter(filter: string): string | undefined {
  if (filter !== SHARE && !filter.startsWith(`${SHARE}/`)) return undefined
  const end = filter.indexOf('/', SHARE.length + 1)
  const group = end < 0 ? '' : filter.slice(SHARE.length + 1, end)
  return group === '' || /[+#]/.test(group) ? '' : filter.slice(end + 1)
}

const SHARE = '$share'

/** Returns whether some topic is matched by both filters. `$` topics are left out: nothing here grants them. */
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
