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

/** What the HTTP API needs of the bridge. */
export interface ApiPorts {
  admit(credentials: Credentials): Promise<Authentication>
  /** Whether who was let in as this still may be; looked at before each event of a stream. */
  isCurrent(identity: Identity): boolean
  /** Resolves with the whole response, as it would be published on MQTT: `{"ok": true, "data": …}`. */
  ask(request: SingleRequest): Promise<Uint8Array>
  /** Where limbs that speak HTTP go in: the same use cases as for a session of the broker. */
  readonly inbound: Pick<Inbound, 'admit' | 'opened' | 'closed' | 'heartbeat' | 'message'>
  readonly topics: Topics
  readonly view: RetainedView
  readonly feed: Feed
  readonly version: string
}
