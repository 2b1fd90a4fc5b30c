/** Exports `limb-bridge-client`, and `limb-bridge/client`: a limb for Node programs, typed by the schemas of the protocol. */

export type { Clock } from '../kernel/clock.ts'
export type { Capability, Heartbeat, Invocation, PairingAnswer, Registration } from '../protocol/schemas.ts'
export { type Handler, type Handlers, LimbInvocations, LimbInvocations as Calls } from './invocations.ts'
export { Limb, type LimbEvent, type LimbKey, type LimbOptions } from './limb.ts'
export { picture } from './picture.ts'
export { type Headers, SignedInvocations, SignedInvocations as SignedCalls } from './signed-invocations.ts'
