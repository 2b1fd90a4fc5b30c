/**
 * Bytes in, bytes out. What is sent after a good CONNECT (in `FIRST`, instead of one), what must come back, and
 * whether the connection lives: each line is `name: sent → answer`, and no answer means that the connection is
 * closed without a word. `·` stands between packets; an answer of `·` alone means: nothing, and it lives.
 */

/** Sent as the first words of a connection. The client ids are candidates'. */
export const FIRST = `
golden: 10 * "MQTT" 04 02 000a "p" → 20 * 00 00
golden, no clean session: 10 * "MQTT" 04 00 000a "p" → 20 * 00 00
golden, with a will at QoS 2, retained: 10 * "MQTT" 04 36 000a "p" "w" "m" → 20 * 00 00
golden, empty will payload: 10 * "MQTT" 04 06 000a "p" "w" 0000 → 20 * 00 00
golden, with a user name: 10 * "MQTT" 04 82 000a "p" "q" → 20 * 00 00
golden, with a key: 10 * "MQTT" 04 c2 000a "p" "q" "0123456789abcdefghij" → 20 * 00 00
golden, empty password: 10 * "MQTT" 04 c2 000a "p" "q" 0000 → 20 * 00 00
golden, remaining length longer than it must be: 10 8d 00 "MQTT" 04 02 000a "p" → 20 * 00 00
golden MQTT 3.1: 10 * "MQIsdp" 03 02 000a "p" → 20 * 00 00
MQTT 3.1 with bits that it leaves unused: 1f * "MQIsdp" 03 03 000a "p" → 20 * 00 00
name of 3.1, level of 3.1.1: 10 * "MQIsdp" 04 02 000a "p" → 20 * 00 01 !
name of 3.1.1, level of 3.1: 10 * "MQTT" 03 02 000a "p" → 20 * 00 01 !
level 0 [MQTT-3.1.2-2]: 10 * "MQTT" 00 02 000a "p" → 20 * 00 01 !
level 7: 10 * "MQTT" 07 02 000a "p" → 20 * 00 84 00 !
empty id, clean [MQTT-3.1.3-7]: 10 * "MQTT" 04 00 000a 0000 → 20 * 00 02 !
empty id of 3.1: 10 * "MQIsdp" 03 02 000a 0000 → 20 * 00 02 !
empty user name, as none: 10 * "MQTT" 04 82 000a "p" 0000 → 20 * 00 00
empty packet: 10 00
no level: 10 * "MQTT"
no flags: 10 * "MQTT" 04
half a keepalive: 10 * "MQTT" 04 02 00
no client id: 10 * "MQTT" 04 02 000a
half a client id: 10 * "MQTT" 04 02 000a 0002 70
protocol name in small letters [MQTT-3.1.2-1]: 10 * "mqtt" 04 02 000a "p"
protocol name with more behind: 10 * "MQTTx" 04 02 000a "p"
protocol name, empty: 10 * 0000 04 02 000a "p"
protocol name beyond the packet: 10 * 00ff 4d515454 04 02 000a "p"
reserved bits of the first byte [MQTT-2.2.2-2]: 11 * "MQTT" 04 02 000a "p"
reserved bits of the first byte, DUP: 18 * "MQTT" 04 02 000a "p"
reserved connect flag [MQTT-3.1.2-3]: 10 * "MQTT" 04 03 000a "p"
will QoS 3 [MQTT-3.1.2-14]: 10 * "MQTT" 04 1e 000a "p" "w" "m"
will QoS without a will [MQTT-3.1.2-13]: 10 * "MQTT" 04 0a 000a "p"
will retain without a will [MQTT-3.1.2-15]: 10 * "MQTT" 04 22 000a "p"
will without a payload: 10 * "MQTT" 04 06 000a "p" "w"
will without a topic: 10 * "MQTT" 04 06 000a "p"
password without a user name [MQTT-3.1.2-22]: 10 * "MQTT" 04 42 000a "p" "x"
user name that is announced but not there: 10 * "MQTT" 04 82 000a "p"
password that is announced but not there: 10 * "MQTT" 04 c2 000a "p" "q"
user name that was not announced [MQTT-3.1.2-18]: 10 * "MQTT" 04 02 000a "p" "q"
bytes behind the last field: 10 * "MQTT" 04 02 000a "p" 00
NUL in the client id [MQTT-1.5.3-2]: 10 * "MQTT" 04 02 000a 0002 7000
invalid UTF-8 in the client id [MQTT-1.5.3-1]: 10 * "MQTT" 04 02 000a 0002 c328
a surrogate in the client id [MQTT-1.5.3-1]: 10 * "MQTT" 04 02 000a 0003 eda080
invalid UTF-8 in the user name [MQTT-3.1.3-11]: 10 * "MQTT" 04 82 000a "p" 0001 ff
invalid UTF-8 in the will topic [MQTT-3.1.3-10]: 10 * "MQTT" 04 06 000a "p" 0001 ff "m"
length of five bytes: 10 80 80 80 80 01
length that is a promise of 256 MiB: 10 ff ff ff 7f
DISCONNECT first: e0 00
PUBACK first: 40 * 0001
type 0: 00 00
type 15: f0 00
`

/** Sent after CONNACK, by a principal with a grant of `t/#`. */
export const AFTER = `
PINGREQ: c0 00 → d0 00
PINGREQ twice: c0 00 c0 00 → d0 00 · d0 00
PINGREQ with flags [MQTT-2.2.2-2]: c1 00
PINGREQ with a body: c0 * 00
PINGREQ, remaining length of two bytes: c0 80 00 → d0 00
DISCONNECT: e0 00
DISCONNECT with flags [MQTT-3.14.1-1]: e1 00
DISCONNECT with a body: e0 * 00
second CONNECT [MQTT-3.1.0-2]: 10 * "MQTT" 04 02 000a "p"
type 0: 00 00
type 15 (AUTH of MQTT 5): f0 00
CONNACK: 20 * 00 00
SUBACK: 90 * 0001 00
UNSUBACK: b0 * 0001
PINGRESP: d0 00
length of five bytes: 30 80 80 80 80 01
PUBLISH: 30 * "t/none" 78 → ·
PUBLISH without payload: 30 * "t/none" → ·
PUBLISH QoS 1: 32 * "t/none" 0001 78 → 40 * 0001
PUBLISH QoS 1 with DUP: 3a * "t/none" ffff → 40 * ffff
PUBLISH QoS 2: 34 * "t/none" 0102 78 → 50 * 0102
PUBLISH QoS 3 [MQTT-3.3.1-4]: 36 * "t/none" 0001 78
PUBLISH QoS 3 with DUP and RETAIN: 3f * "t/none" 0001 78
PUBLISH QoS 0 with DUP [MQTT-3.3.1-2]: 38 * "t/none" 78
PUBLISH, empty packet: 30 00
PUBLISH, empty topic [MQTT-4.7.3-1]: 30 * 0000 78
PUBLISH, topic beyond the packet: 30 * 0007 74
PUBLISH, packet identifier 0 [MQTT-2.3.1-1]: 32 * "t/none" 0000 78
PUBLISH, no packet identifier: 32 * "t/none"
PUBLISH, half a packet identifier: 32 * "t/none" 00
PUBLISH, plus in the topic [MQTT-3.3.2-2]: 30 * "t/+" 78
PUBLISH, hash in the topic [MQTT-3.3.2-2]: 30 * "t/a#" 78
PUBLISH, wildcard behind wide letters: 30 * "t/ü#" 78
PUBLISH, NUL in the topic [MQTT-4.7.3-2]: 30 * 0003 740078
PUBLISH, line feed in the topic: 30 * 0003 740a78
PUBLISH, DEL in the topic: 30 * 0003 747f78
PUBLISH, U+FFFF in the topic: 30 * 0004 74efbfbf
PUBLISH, overlong slash in the topic: 30 * 0003 74c0af
PUBLISH, surrogate in the topic: 30 * 0004 74eda081
PUBLISH, half a letter in the topic: 30 * 0002 74c3
PUBLISH, byte order mark in the topic [MQTT-1.5.3-3]: 30 * 0006 742fefbbbf61 → ·
PUBLISH to what is denied: 32 * "nowhere/else" 0001 78 → 40 * 0001
PUBLISH to $SYS: 32 * "$SYS/x" 0001 78 → 40 * 0001
PUBACK of nothing: 40 * 0001 → ·
PUBACK, flags [MQTT-2.2.2-2]: 42 * 0001
PUBACK, packet identifier 0: 40 * 0000
PUBACK, short: 40 * 01
PUBACK, long: 40 * 0001 00
PUBREC of nothing: 50 * 0001 → 62 * 0001
PUBREC, flags: 51 * 0001
PUBREC, packet identifier 0: 50 * 0000
PUBREC, empty: 50 00
PUBREL of nothing: 62 * 0001 → 70 * 0001
PUBREL, flags [MQTT-3.6.1-1]: 60 * 0001
PUBREL, all flags: 6f * 0001
PUBREL, packet identifier 0: 62 * 0000
PUBREL, long: 62 * 0001 00
PUBCOMP of nothing: 70 * 0001 → ·
PUBCOMP, flags: 78 * 0001
PUBCOMP, short: 70 * 00
SUBSCRIBE: 82 * 0001 "t/none" 00 → 90 * 0001 00
SUBSCRIBE, three filters: 82 * 0102 "t/none" 02 "t/+/+" 01 "a/b/c" 00 → 90 * 0102 02 01 80
SUBSCRIBE, the same filter twice (Aedes answers once): 82 * 0001 "t/none" 00 "t/none" 01 → 90 * 0001 01
SUBSCRIBE, flags [MQTT-3.8.1-1]: 80 * 0001 "t/none" 00
SUBSCRIBE, flags of DUP: 8a * 0001 "t/none" 00
SUBSCRIBE, packet identifier 0: 82 * 0000 "t/none" 00
SUBSCRIBE without a filter [MQTT-3.8.3-3]: 82 * 0001
SUBSCRIBE, empty: 82 00
SUBSCRIBE, empty filter [MQTT-4.7.3-1]: 82 * 0001 0000 00
SUBSCRIBE, filter beyond the packet: 82 * 0001 00ff 74 00
SUBSCRIBE without QoS: 82 * 0001 "t/none"
SUBSCRIBE, QoS 3 [MQTT-3.8.3-4]: 82 * 0001 "t/none" 03
SUBSCRIBE, reserved bits beside QoS [MQTT-3.8.3-4]: 82 * 0001 "t/none" 04
SUBSCRIBE, second filter cut off: 82 * 0001 "t/none" 00 0004 74
SUBSCRIBE, plus in a level [MQTT-4.7.1-3]: 82 * 0001 "t/a+" 00
SUBSCRIBE, hash in a level [MQTT-4.7.1-2]: 82 * 0001 "t/a#" 00
SUBSCRIBE, hash not last [MQTT-4.7.1-2]: 82 * 0001 "t/#/a" 00
SUBSCRIBE, NUL in the filter: 82 * 0001 0003 740061 00
SUBSCRIBE, invalid UTF-8 in the filter [MQTT-3.8.3-1]: 82 * 0001 0002 c328 00
UNSUBSCRIBE: a2 * 0001 "t/none" → b0 * 0001
UNSUBSCRIBE, two filters: a2 * 0304 "t/none" "t/#" → b0 * 0304
UNSUBSCRIBE, flags [MQTT-3.10.1-1]: a0 * 0001 "t/none"
UNSUBSCRIBE, packet identifier 0: a2 * 0000 "t/none"
UNSUBSCRIBE without a filter [MQTT-3.10.3-2]: a2 * 0001
UNSUBSCRIBE, empty filter: a2 * 0001 0000
UNSUBSCRIBE, filter beyond the packet: a2 * 0001 0009 74
UNSUBSCRIBE, invalid UTF-8 in the filter [MQTT-3.10.3-1]: a2 * 0001 0001 ff
a violation behind good packets: c0 00 c0 00 f0 00
`

export interface Vector {
  readonly name: string
  readonly sent: string
  /** Packets that must come back, in this order. */
  readonly answer: readonly string[]
  readonly lives: boolean
}

export function vectorsOf(table: string): Vector[] {
  return table
    .trim()
    .split('\n')
    .map((line) => {
      const at = line.search(/: (?=[0-9a-f]{2} )/)
      const [sent = '', answer] = line.slice(at + 2).split('→')
      return {
        name: line.slice(0, at),
        sent,
        answer: (answer ?? '')
          .replace('!', '')
          .split('·')
          .map((part) => part.trim())
          .filter(Boolean),
        lives: answer !== undefined && !answer.includes('!'),
      }
    })
}
