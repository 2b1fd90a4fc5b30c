import type {
  Authentication,
  Credentials,
  Feed,
  Identity,
  Inbound,
  RetainedView,
} from '../../bridge/ports.ts'
import type { SingleRequest } from '../../bridge/verbs/single-request.ts'
import type { Topics } from '../../protocol/topics.ts'

/** The parts of the bridge that the HTTP API needs. */
export interface ApiPorts {
  admit(credentials: Credentials): Promise<Authentication>
  /** Returns whether a client that was let in as this still may be; it is asked before each event of a stream. */
  isCurrent(identity: Identity): boolean
  /** Calls the function once when a client that was let in as this may be no more. Returns what ends the watch. */
  whenEnded(identity: Identity, ended: () => void): () => void
  /** Resolves with the whole response, as it would be published on MQTT: `{"ok": true, "data": …}`. */
  ask(request: SingleRequest): Promise<Uint8Array>
  /** The door of limbs that speak HTTP: the same use cases as for a session of the broker. */
  readonly inbound: Pick<Inbound, 'admit' | 'opened' | 'closed' | 'heartbeat' | 'message' | 'subscribed'>
  readonly topics: Topics
  readonly view: RetainedView
  readonly feed: Feed
  readonly version: string
}
