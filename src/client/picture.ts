/** The bytes that one call of `fromCharCode` takes; a call has not room for any number of arguments. */
const CHUNK_BYTES = 8192

/** A picture as AI agents see it: return it as the data of a result, or in a key of it. */
export function picture(mimeType: string, bytes: Uint8Array): { mimeType: string; base64: string } {
  let letters = ''
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
    letters += String.fromCharCode(...bytes.subarray(at, at + CHUNK_BYTES))
  return { mimeType, base64: btoa(letters) }
}
