/** Values to bytes: the one function through which every payload of the bridge goes. */

const encoder = new TextEncoder()

/** JSON as UTF-8. Throws on `undefined`: an empty retained payload would delete the retained message. */
export function encodeJson(value: object): Uint8Array {
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError('nothing to encode; an empty payload would delete')
  return encoder.encode(text)
}

/** One plain word, such as a status. */
export function encodeWord(word: string): Uint8Array {
  if (word === '') throw new TypeError('an empty word would delete the retained message')
  return encoder.encode(word)
}

/** The payload that deletes a retained message. */
export const NOTHING: Uint8Array = new Uint8Array(0)
