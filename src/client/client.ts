/** Exports `limb-bridge/client`: a limb for Node programs, typed by the schemas of the protocol. */

export type { Clock } from '../kernel/clock.ts'
export type { Capability, Heartbeat, Invocation, PairingAnswer, Registration } from '../protocol/schemas.ts'
export { type Handler, type Handlers, LimbInvocations, LimbInvocations as Calls } from './invocations.ts'
export { Limb, type LimbEvent, type LimbKey, type LimbOptions } from './limb.ts'
export { type Headers, SignedInvocations, SignedInvocations as SignedCalls } from './signed-invocations.ts'

/** A picture as AI agents see it: return it as the data of a result, or in a key of it. */
export function picture(mimeType: string, bytes: Uint8Array): { mimeType: string; base64: string } {
  return { mimeType, base64: Buffer.from(bytes).toString('base64') }
}
