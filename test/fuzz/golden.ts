import {
  connectPacket,
  id,
  packet,
  publishPacket,
  subscribePacket,
  unsubscribePacket,
} from '../broker/wire.ts'
import { bytesOf } from '../conformance/bytes.ts'
import { AFTER, FIRST, vectorsOf } from '../conformance/vectors.ts'
import { keyOf, REGISTRATION } from '../support/app.ts'
import { anyPacket5, connectFor } from './golden5.ts'
import type { Random } from './random.ts'

/** What scripts are made of: the packets of the conformance table, and those of the bridge's own protocol. */

export const LIMB = 'fuzzed'

/** Few, so that what is stored for them stays bounded. */
const CLIENT_IDS = ['fuzz-a', 'fuzz-b', '__proto__', 'constructor']
const CANDIDATES = ['cam1', 'cam2', 'toString']

const packetsOf = (table: string) =>
  vectorsOf(table).flatMap(({ sent }) => sent.split('·').map((each) => bytesOf(each.trim())))

const FIRST_WORDS = packetsOf(FIRST)

const own = `limb/node/${LIMB}`
const JSONS = [
  '',
  '{',
  '[]',
  'null',
  '{"status":"busy"}',
  '{"status":7}',
  '{"__proto__":{"status":"busy"}}',
  '{"transaction":"t","limit":-1}',
  '{"transaction":{"a":[]},"nodeId":"__proto__"}',
  '"\\ud800"',
  JSON.stringify(REGISTRATION),
  JSON.stringify({ ...REGISTRATION, capabilities: 'x' }),
  `${'['.repeat(2000)}`,
]
const TOPICS = [
  `${own}/register`,
  `${own}/heartbeat`,
  `${own}/deregister`,
  `${own}/result`,
  `${own}/data/x`,
  `${own}/pairing`,
  'limb/node/cam1/register',
  'limb/principal/admin/request/node/list',
  'limb/principal/admin/request/pairing/list',
  'limb/principal/admin/request/__proto__',
  'limb/bridge/status',
  't/one',
  't/__proto__',
  '$SYS/x/new/clients',
]
const FILTERS = [
  `${own}/pairing`,
  `${own}/invoke`,
  'limb/bridge/#',
  'limb/node/+/status',
  'limb/node/+/state',
  'limb/principal/admin/response/#',
  't/#',
  't/+',
  '#',
  '$share/g/t/one',
  '__proto__',
]

const AFTER_WORDS: readonly Buffer[] = [
  ...packetsOf(AFTER),
  ...TOPICS.map((topic) => publishPacket(topic, '')),
  ...FILTERS.map((filter, i) => subscribePacket({ [filter]: i % 3 }, 10 + i)),
  unsubscribePacket(FILTERS, 3),
  packet(0x62, id(1)),
]

function publish(random: Random): Buffer {
  const qos = random.pick([0, 1, 2] as const)
  return publishPacket(random.pick(TOPICS), random.pick(JSONS), {
    qos,
    id: 1 + random.below(4),
    dup: qos > 0 && random.chance(0.3),
    retain: random.chance(0.3),
  })
}

const WORDS = { topics: TOPICS, filters: [...FILTERS, '$share/g/#', '$share//t'], payloads: JSONS }

export function anyPacket(random: Random, version: 4 | 5 = 4): Buffer {
  if (version === 5 && random.chance(0.9)) return anyPacket5(random, WORDS)
  if (random.chance(0.4)) return publish(random)
  return random.pick(random.chance(0.9) ? AFTER_WORDS : FIRST_WORDS)
}

export type Who = 'nobody' | 'candidate' | 'limb' | 'viewer' | 'principal'

/**
 * The first packet of a connection; `principal` and `viewer` come through the control socket, which asks for no
 * password, the second as a role that may less.
 */
export function firstPacket(random: Random, who: Who, version: 4 | 5 = 4): Buffer {
  const session = { clean: random.chance(0.6), keepalive: random.pick([1, 60, 3600]) }
  const will = random.chance(0.3)
    ? { will: { topic: random.pick(TOPICS), payload: random.pick(JSONS), qos: random.below(3) } }
    : {}
  const connect = (options: { clientId: string; username?: string; password?: string }) =>
    version === 5
      ? connectFor(random, { ...options, ...will, cleanStart: session.clean, keepalive: session.keepalive })
      : connectPacket({ ...options, ...session, ...will })
  switch (who) {
    case 'nobody':
      // Without a key, under a name that has none: a claim; or what is no CONNECT that anybody could mean.
      return version === 5 && random.chance(0.5)
        ? connect({ clientId: random.pick(CLIENT_IDS) })
        : random.pick(FIRST_WORDS)
    case 'candidate': {
      const clientId = random.pick(CANDIDATES)
      return connect({ clientId, username: clientId, password: keyOf(clientId) })
    }
    case 'limb':
      return connect({ clientId: LIMB, username: LIMB, password: keyOf(LIMB) })
    case 'viewer':
      return connect({ clientId: random.pick(CLIENT_IDS), username: 'admin', password: 'role:viewer' })
    case 'principal':
      return connect({ clientId: random.pick(CLIENT_IDS) })
  }
}
