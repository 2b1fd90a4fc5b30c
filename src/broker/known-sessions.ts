import type { KnownSession, SessionPage } from '../bridge/ports.ts'
import type { BrokerPersistence } from './aedes-internals.ts'
import type { MqttSession } from './session.ts'
import { clientIdOf, nameOf } from './session-key.ts'

/** The parts of a session that its line in a list needs. */
export type ListedSession = Pick<MqttSession, 'identity' | 'clientId' | 'address' | 'since'>

/** The sessions that are stored, and those that are live, by key. */
export interface AllSessions {
  readonly stored: Pick<BrokerPersistence['sessions'], 'list' | 'owners'>
  readonly live: ReadonlyMap<string, ListedSession>
}

/**
 * Lists the sessions of a page: the live ones, and those that are stored and away. There may be a hundred thousand, and a page is
 * one turn of the event loop: only those of its own names are looked at.
 */
export function knownSessions(all: AllSessions, page: SessionPage): KnownSession[] {
  const { name, after = '', limit } = page
  const names = name === undefined ? firstNames(all, after, limit) : [name]
  const live = liveOf(all.live, new Set(names))
  const found: KnownSession[] = []
  for (const each of names) {
    if (found.length >= limit) break
    found.push(
      ...sessionsOf(each, all.stored, live.get(each) ?? []).filter((known) => placeOf(known) > after),
    )
  }
  return found.slice(0, limit)
}

/** Makes the place of a session in a list. */
export function placeOf({ name, clientId }: Pick<KnownSession, 'name' | 'clientId'>): string {
  return `${name} ${clientId}`
}

/** Returns the first names, in order, that may have sessions after a place; no more than `most`, for each has a session. */
function firstNames({ stored, live }: AllSessions, after: string, most: number): string[] {
  // No name has a space: that of the place `after` is the first whose sessions may come behind it.
  const space = after.indexOf(' ')
  const from = space < 0 ? after : after.slice(0, space)
  let names = new Set<string>()
  let last: string | undefined
  const look = (name: string) => {
    if (name < from || (last !== undefined && name > last)) return
    names.add(name)
    if (names.size < 2 * most + 2) return
    names = new Set([...names].sort().slice(0, most + 1))
    last = [...names].at(-1)
  }
  for (const name of stored.owners()) look(name)
  for (const { identity } of live.values()) look(nameOf(identity))
  // One more than sessions are wanted: all of the first name may come before the place.
  return [...names].sort().slice(0, most + 1)
}

type Keyed = readonly [key: string, session: ListedSession]

function liveOf(live: AllSessions['live'], names: ReadonlySet<string>): Map<string, Keyed[]> {
  const found = new Map<string, Keyed[]>()
  for (const each of live) {
    const name = nameOf(each[1].identity)
    if (!names.has(name)) continue
    const others = found.get(name)
    if (others === undefined) found.set(name, [each])
    else others.push(each)
  }
  return found
}

/** Lists the sessions of a name in the order of their places. */
function sessionsOf(name: string, stored: AllSessions['stored'], live: readonly Keyed[]): KnownSession[] {
  const found = new Map<string, KnownSession>()
  for (const { key, usedAt, queued } of stored.list(name))
    found.set(key, { name, clientId: clientIdOf(key), live: false, since: usedAt, queued })
  for (const [key, { clientId, address, since }] of live) {
    const queued = found.get(key)?.queued ?? 0
    found.set(key, { name, clientId, live: true, address, since, queued })
  }
  return [...found.values()].sort((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1))
}
