import type { NodeRecord } from '../../domain/records.ts'
import { type PresenceRule, presenceRule } from '../../protocol/presence.ts'
import type { Topics } from '../../protocol/topics.ts'

/** Returns how the presence of a limb is kept: what an operator set, or the limb's own wish. */
export function presenceRuleOf({ operatorSettings, presence }: NodeRecord): PresenceRule {
  return presenceRule(operatorSettings?.presence ?? presence ?? undefined)
}

/** Knows the topics by which some limbs say themselves whether they are there. */
export class AvailabilityTopics {
  readonly #topics: Topics
  readonly #owners = new Map<string, string>()
  readonly #topicOf = new Map<string, string>()

  constructor(topics: Topics) {
    this.#topics = topics
  }

  /** `below` is the topic below that of the limb; undefined: it has none. */
  watch(nodeId: string, below: string | undefined): void {
    const before = this.#topicOf.get(nodeId)
    if (before !== undefined) this.#owners.delete(before)
    this.#topicOf.delete(nodeId)
    if (below === undefined) return
    const topic = `${this.#topics.nodePrefix}${nodeId}/${below}`
    this.#topicOf.set(nodeId, topic)
    this.#owners.set(topic, nodeId)
  }

  ownerOf(topic: string): string | undefined {
    return this.#owners.size === 0 ? undefined : this.#owners.get(topic)
  }
}
