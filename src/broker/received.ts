import type { MessageContext } from '../bridge/ports.ts'
import type { MessageExtras, Qos } from './aedes-internals.ts'

/** A PUBLISH of a client, in whatever version of MQTT it came. */
export interface Received extends MessageExtras {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly context?: MessageContext | undefined
}

/** The part of a PUBLISH that is known when it was read over. */
export type Unread = Pick<Received, 'topic' | 'context'>

/**
 * The part of an acknowledgement beyond that the message has arrived: a reason code of MQTT 5, and a sentence for who
 * wrote the client. Undefined: all is well. MQTT 3.1.1 has no place for either.
 */
export type Outcome = { readonly code: number; readonly reason?: string | undefined } | undefined
