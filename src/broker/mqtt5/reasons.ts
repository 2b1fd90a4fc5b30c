import type { SessionEnd } from '../../bridge/ports.ts'

/** Reason codes of MQTT 5 (section 2.4) that the bridge sends or understands. */
export const REASON = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationError: 0x83,
  unsupportedVersion: 0x84,
  invalidClientId: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  shuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  takenOver: 0x8e,
  invalidFilter: 0x8f,
  invalidTopicName: 0x90,
  packetIdInUse: 0x91,
  packetIdNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  invalidTopicAlias: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  sharedSubscriptionsUnsupported: 0x9e,
  wildcardsUnsupported: 0xa2,
} as const

const CODES: Readonly<Record<string, number>> = {
  'packet too large': REASON.packetTooLarge,
  'too much before CONNACK': REASON.quotaExceeded,
  'too many filters in one packet': REASON.quotaExceeded,
}

/** The code of a fault that is found before the packet is read. */
export function codeOf(fault: string): number {
  return CODES[fault] ?? REASON.malformedPacket
}

/** The words of DISCONNECT when the bridge ends a session. */
export const FAREWELLS: Readonly<Record<SessionEnd, readonly [code: number, reason: string]>> = {
  disconnect: [REASON.administrativeAction, 'the bridge has ended this session'],
  lost: [REASON.quotaExceeded, 'this session does not read what it is sent'],
  replaced: [REASON.takenOver, 'a newer session has taken the place of this one'],
  refused: [REASON.notAuthorized, 'what this session signed in with was rejected or has ended'],
  stopped: [REASON.shuttingDown, 'the bridge stops; connect again in a few seconds'],
}

/** The first code that means that something failed. */
export const FIRST_FAILURE = 0x80

/** Says what is wrong with a packet: the code for the peer, and a fixed text for the log and the reason string. */
export interface Fault5 {
  readonly code: number
  readonly text: string
}

export function malformed(text: string): Fault5 {
  return { code: REASON.malformedPacket, text }
}

export function protocolError(text: string): Fault5 {
  return { code: REASON.protocolError, text }
}
