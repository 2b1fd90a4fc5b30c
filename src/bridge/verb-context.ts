import type { Role } from '../protocol/names.ts'
import type { VerbResult } from '../protocol/results.ts'
import type { VerbArgs, VerbName } from '../protocol/verbs.ts'
import type { Session } from './ports.ts'

/** The one who asks. */
export interface VerbCaller {
  readonly name: string
  readonly role: Role
  readonly address: string
  /** The session that the answer goes to; compared by identity. */
  readonly session: Session
  /** The transaction as the request gave it. */
  readonly transaction?: string | number | undefined
  /** Returns whether anybody is still there to be answered. */
  alive(): boolean
  /** Takes from its budget what its request cost in later turns of the event loop, in milliseconds. */
  charge?(ms: number): void
  /** Resolves when it is the turn of its principal once more; to false, at once, when too much of it waits for that already. */
  turn?(): Promise<boolean>
}

/** Resolves to the response's `data`, after what it reports is stored and published. */
export type VerbHandler<V extends VerbName> = (
  args: VerbArgs<V>,
  caller: VerbCaller,
) => Promise<VerbResult<V>>

/** One handler for every verb of the table: the compiler says when one is missing. */
export type VerbHandlers = { readonly [V in VerbName]: VerbHandler<V> }

export type VerbHandlersOf<Prefix extends string> = Pick<
  VerbHandlers,
  Extract<VerbName, `${Prefix}/${string}`>
>
