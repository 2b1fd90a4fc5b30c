/** Exports `limb-bridge-client` in a browser: a page is a limb, over MQTT on a WebSocket. */

export type { Clock } from '../../kernel/clock.ts'
export type {
  Capability,
  Heartbeat,
  Invocation,
  PairingAnswer,
  Registration,
} from '../../protocol/schemas.ts'
export { type Handler, type Handlers, LimbInvocations } from '../invocations.ts'
export { Limb, type LimbEvent, type LimbKey, type LimbOptions } from '../limb.ts'
export { picture } from '../picture.ts'
