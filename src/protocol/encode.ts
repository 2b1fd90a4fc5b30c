/** Values to bytes: the one function through which every payload of the bridge goes. */

const encoder = new TextEncoder()

/** JSON as UTF-8. Throws on `undefined`: an empty retained payload would delete the retained message. */
export function encodeJson(value: object): Uint8Array {
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError('nothing to encode; an empty payload would delete')
  return encoder.encode(text)
}

/** The words of the protocol, each made once: a whole fleet's statuses may be asked for. */
const words = new Map<string, Uint8Array>()

/** One plain word of the protocol, such as a status. Its bytes are shared: nobody may change them. */
export function encodeWord(word: string): Uint8Array {
  if (word === '') throw new TypeError('an empty word would delete the retained message')
  let bytes = words.get(word)
  if (bytes === undefined) {
    bytes = encoder.encode(word)
    words.set(word, bytes)
  }
  return bytes
}

/** The payload that deletes a retained message. */
export const NOTHING: Uint8Array = new Uint8Array(0)
