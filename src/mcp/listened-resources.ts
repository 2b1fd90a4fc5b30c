import { limbOfUri } from './limb-resources.ts'

/** The most that are kept: no server tells of more. */
const MAX = 1000

/** Keeps which limbs a client listens to (`subscriptions/listen`), also from before its server is made. */
export class ListenedResources {
  readonly #nodeIds = new Set<string>()
  #listener: (nodeId: string) => void = () => {}

  add(uris: readonly unknown[]): void {
    for (const uri of uris) {
      const nodeId = typeof uri === 'string' ? limbOfUri(uri) : undefined
      if (nodeId === undefined || this.#nodeIds.has(nodeId) || this.#nodeIds.size >= MAX) continue
      this.#nodeIds.add(nodeId)
      this.#listener(nodeId)
    }
  }

  follow(listener: (nodeId: string) => void): void {
    this.#listener = listener
    for (const nodeId of this.#nodeIds) listener(nodeId)
  }
}
