import {
  ack5,
  type Connect5Options,
  connect5,
  disconnect5,
  props,
  publish5,
  subscribe5,
  unsubscribe5,
} from '../broker/mqtt5/wire5.ts'
import { id, packet } from '../broker/wire.ts'
import type { Random } from './random.ts'

/** Packets of MQTT 5 with the properties that it has, for scripts that say them well, badly and in any order. */

const NUMBERS = [0, 1, 2, 10, 100, 65_535, 0xffff_ffff]
const TEXTS = [
  '',
  'a',
  '__proto__',
  'limb/principal/admin/response/x',
  't/answer',
  'x'.repeat(300),
  'a/+',
  '\ufeff',
]
const BYTES = [0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a]
const SHORTS = [0x13, 0x21, 0x22, 0x23]
const LONGS = [0x02, 0x11, 0x18, 0x27]
const STRINGS = [0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1a, 0x1c, 0x1f]
/** The identifiers of properties that a packet may have. */
const OF = {
  connect: [0x11, 0x21, 0x27, 0x22, 0x19, 0x17, 0x26],
  will: [0x18, 0x01, 0x02, 0x03, 0x08, 0x09, 0x26],
  publish: [0x01, 0x02, 0x23, 0x08, 0x09, 0x26, 0x03],
  subscribe: [0x0b, 0x26],
  other: [0x1f, 0x26, 0x11],
} as const
const ALL = [...BYTES, ...SHORTS, ...LONGS, ...STRINGS, 0x0b, 0x26, 0x7f]

type Kind = keyof typeof OF

function propertiesFor(random: Random, kind: Kind): Buffer {
  const writer = props()
  for (let count = random.below(4); count > 0; count--) {
    const property = random.chance(0.9) ? random.pick(OF[kind]) : random.pick(ALL)
    const number = random.pick(NUMBERS)
    if (BYTES.includes(property)) writer.byte(property, random.chance(0.8) ? number & 1 : number & 0xff)
    else if (SHORTS.includes(property)) writer.uint16(property, number & 0xffff)
    else if (LONGS.includes(property)) writer.uint32(property, number)
    else if (property === 0x0b) writer.varint(property, Math.min(number, 268_435_455))
    else writer.text(property, random.pick(TEXTS))
    if (property === 0x26) writer.raw(Buffer.concat([id(1), Buffer.from('v')]))
  }
  return writer.bytes()
}

export function connectFor(random: Random, options: Connect5Options): Buffer {
  const will = options.will && { ...options.will, properties: propertiesFor(random, 'will') }
  return connect5({ ...options, ...(will && { will }), properties: propertiesFor(random, 'connect') })
}

export interface Words {
  readonly topics: readonly string[]
  readonly filters: readonly string[]
  readonly payloads: readonly string[]
}

export function anyPacket5(random: Random, { topics, filters, payloads }: Words): Buffer {
  const packetId = random.below(5)
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return publish5(random.pick(topics), random.pick(payloads), {
        qos: random.pick([0, 1, 2] as const),
        id: packetId,
        retain: random.chance(0.3),
        properties: propertiesFor(random, 'publish'),
      })
    case 3: {
      const asked = [random.pick(filters), random.pick(filters)].map(
        (filter) => [filter, random.below(64)] as const,
      )
      return subscribe5(asked, packetId, propertiesFor(random, 'subscribe'))
    }
    case 4:
      return unsubscribe5([random.pick(filters)], packetId)
    case 5: {
      const code = random.pick([-1, 0, 0x10, 0x87, 0x99])
      const first = random.pick([0x40, 0x50, 0x62, 0x70])
      return ack5(first, packetId, code < 0 ? undefined : code)
    }
    case 6:
      return disconnect5(random.pick([0, 4, 0x82, 0x8e]), propertiesFor(random, 'other'))
    default:
      return random.pick([packet(0xf0, Buffer.from([0x18, 0])), packet(0xc0), packet(0xf0)])
  }
}
