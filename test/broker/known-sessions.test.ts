import { expect, test } from 'vitest'
import {
  type AllSessions,
  knownSessions,
  type ListedSession,
  placeOf,
} from '../../src/broker/known-sessions.ts'

const NAMES = 500
const OF_EACH = 3
const LIMIT = 20

/** Hundreds of limbs with some stored sessions each, in no order, of which every second has a live one too. */
function many() {
  const stored = new Map<string, string[]>()
  const live = new Map<string, ListedSession>()
  for (let i = 0; i < NAMES; i++) {
    const name = `limb${(i * 7919) % NAMES}`
    stored.set(
      name,
      Array.from({ length: OF_EACH }, (_, n) => `${name} c${OF_EACH - n}`),
    )
    if (i % 2 > 0) continue
    const identity = { kind: 'limb', nodeId: name } as const
    live.set(`${name} c1`, { identity, clientId: 'c1', address: '192.0.2.1', since: 5 })
    live.set(`only${i} x`, {
      identity: { kind: 'limb', nodeId: `only${i}` },
      clientId: 'x',
      address: '',
      since: 5,
    })
  }
  let looked = 0
  const all: AllSessions = {
    stored: {
      owners: () => stored.keys(),
      list: (name) => {
        looked++
        return (stored.get(name) ?? []).map((key) => ({ key, usedAt: 1, queued: 2 }))
      },
    },
    live,
  }
  const places = [...new Set([...live.keys(), ...[...stored.values()].flat()])].sort()
  return { all, places, looked: () => looked }
}

test('the sessions of hundreds of names come page by page, each once and in order', () => {
  const { all, places } = many()
  const found: string[] = []
  for (let after: string | undefined; ; after = found.at(-1)) {
    const page = knownSessions(all, { name: undefined, after, limit: LIMIT })
    found.push(...page.map(placeOf))
    if (page.length < LIMIT) break
  }
  expect(found).toEqual(places)
  const [first] = knownSessions(all, { name: 'limb0', after: undefined, limit: LIMIT })
  expect(first).toEqual({
    name: 'limb0',
    clientId: 'c1',
    live: true,
    address: '192.0.2.1',
    since: 5,
    queued: 2,
  })
  expect(knownSessions(all, { name: 'nobody', after: undefined, limit: LIMIT })).toEqual([])
})

test('a page looks at the sessions of its own names, however many there are', () => {
  const { all, looked } = many()
  knownSessions(all, { name: undefined, after: 'limb250', limit: LIMIT })
  expect(looked()).toBeLessThanOrEqual(LIMIT)
})
