import { anyPacket, firstPacket, type Who } from './golden.ts'
import { mutated, segments } from './mutate.ts'
import type { Random } from './random.ts'

/** What one connection says, decided before it is opened, so that a seed repeats it. */
export interface Script {
  readonly who: Who
  readonly packets: number
  readonly segments: readonly Buffer[]
  /** Waits for the answer to the first packet before it goes on. */
  readonly polite: boolean
  readonly reads: boolean
  readonly end: 'reset' | 'close' | 'half-close'
}

const MAX_PACKETS = 40

export type Version = 4 | 5

export const VERSIONS: readonly Version[] = [4, 5]

export function script(random: Random, versions: readonly Version[] = VERSIONS): Script {
  const who = random.pick(['nobody', 'candidate', 'limb', 'viewer', 'principal'] as const)
  const version = random.pick(versions)
  // How broken this one is: none of it, so that valid packets come in invalid orders, or some, or most.
  const broken = random.pick([0, 0.1, 0.5])
  const parts = [firstPacket(random, who, version)]
  for (let i = random.below(MAX_PACKETS); i > 0; i--) parts.push(anyPacket(random, version))
  const said = parts.map((part, i) =>
    random.chance(i === 0 && who !== 'nobody' ? broken / 5 : broken) ? mutated(random, part) : part,
  )
  const polite = random.chance(0.7)
  const [first = Buffer.alloc(0), ...rest] = said
  return {
    who,
    packets: said.length,
    segments: polite
      ? [first, ...segments(random, Buffer.concat(rest))]
      : segments(random, Buffer.concat(said)),
    polite,
    reads: random.chance(0.8),
    end: random.pick(['reset', 'close', 'half-close'] as const),
  }
}

export function bytesOf(scripts: readonly Script[]): string {
  return scripts
    .map(({ who, polite, reads, end, segments: cut }) =>
      [
        `${who}${polite ? ', polite' : ''}${reads ? '' : ', deaf'}, ${end}:`,
        ...cut.map((each) => each.toString('hex')),
      ].join('\n  '),
    )
    .join('\n')
}
