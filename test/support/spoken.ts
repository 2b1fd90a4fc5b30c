/**
 * Which MQTT the hand-made clients of a test file speak: 3.1.1, unless a file says 5 and then loads the suites that shall hold
 * in both. What both can say reads the same: a suite expects the codes of 3.1.1.
 */
export const spoken: { version: 4 | 5 } = { version: 4 }

const CONNACK_CODES: Readonly<Record<number, number>> = {
  132: 1,
  133: 2,
  134: 4,
  135: 5,
  136: 3,
  138: 5,
}

/** What CONNACK of 3.1.1 says for a reason of MQTT 5; the reason itself where 3.1.1 has none. */
export function connackCode(code: number): number {
  return CONNACK_CODES[code] ?? code
}

/** SUBACK of 3.1.1 has one code for every refusal. */
export function subackCode(code: number): number {
  return code >= 0x80 ? 0x80 : code
}

/** A session that lasts, in words of MQTT 5: four bytes of seconds without an end. */
export const FOR_EVER = 0xffff_ffff
