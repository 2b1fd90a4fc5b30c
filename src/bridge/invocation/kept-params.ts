/** Params of so many bytes are kept as they are. */
const PLAIN_BYTES = 1024

/**
 * Keeps the params of an invocation until they are sent; the returned function gives them. Large ones are kept as JSON:
 * as a value, a list of numbers or of small objects takes several times the bytes that its bound counts.
 */
export function keptParams(params: unknown, bytes: number): () => unknown {
  return bytes <= PLAIN_BYTES ? () => params : fromJson(Buffer.from(JSON.stringify(params)))
}

// A function of its own: the scope of the one above holds the value.
function fromJson(json: Buffer): () => unknown {
  return () => JSON.parse(json.toString())
}
