/** The slice of qlobber's subscription trie that the persistence uses; it ships without types. */
declare module 'qlobber/aedes/qlobber-sub.js' {
  interface Subscriber {
    readonly clientId: string
    readonly topic: string
    readonly qos: 0 | 1 | 2
    readonly rh?: number
    readonly rap?: boolean
    readonly nl?: boolean
  }
  export default class QlobberSub {
    constructor(options: {
      wildcard_one: string
      wildcard_some: string
      separator: string
      match_empty_levels: boolean
    })
    readonly subscriptionsCount: number
    add(filter: string, subscriber: Subscriber): void
    remove(filter: string, subscriber: { clientId: string; topic: string }): void
    match(topic: string): Subscriber[]
  }
}
