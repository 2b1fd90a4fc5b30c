import { packet, text } from '../broker/wire.ts'

/**
 * Packets written down as people read them: `30 * "t/a" 01 02` is a first byte, the remaining length of what
 * follows, a string with its length, and bytes in hexadecimal.
 */
export function bytesOf(written: string): Buffer {
  const tokens: string[] = written.match(/"[^"]*"|\S+/g) ?? []
  const star = tokens.indexOf('*')
  if (star < 0) return Buffer.concat(tokens.map(token))
  const first = tokens.slice(0, star).map(token)
  if (Buffer.concat(first).length !== 1) throw new Error(`${written}: one byte stands before *`)
  return packet(Buffer.concat(first)[0] ?? 0, ...tokens.slice(star + 1).map(token))
}

function token(written: string): Buffer {
  if (written.startsWith('"')) return text(written.slice(1, -1))
  const bytes = Buffer.from(written, 'hex')
  if (bytes.length * 2 !== written.length || bytes.length === 0)
    throw new Error(`${written}: not hexadecimal`)
  return bytes
}
