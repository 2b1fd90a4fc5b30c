import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import { unmappedAddress } from './address.ts'

/**
 * The header of the PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): what a proxy writes before the
 * bytes of its client, to say where that one comes from.
 */

/** A whole header. */
export interface ProxyHeader {
  /** The address of the client; undefined when the proxy speaks for itself, as in its health checks, or does not know. */
  readonly address: string | undefined
  /** The length of the header. */
  readonly bytes: number
}

/** Is a header, the beginning of one (`more`), or the reason why none can be taken. */
export type ProxyHeaderRead = ProxyHeader | 'more' | { readonly fault: string }

const SIGNATURE_1 = Buffer.from('PROXY ', 'latin1')
const SIGNATURE_2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
/** The longest line of version 1, with its end. */
const MAX_BYTES_1 = 107
/** Signature, command, family and length. */
const HEAD_BYTES_2 = 16
/** Addresses and what a proxy adds to them: a certificate's name, a tunnel's id. */
const MAX_BODY_BYTES_2 = 4096
const LOCAL = 0
const PROXY = 1
const UNSPECIFIED = 0
const TCP4 = 0x11
const TCP6 = 0x21
const UNIX_STREAM = 0x31
const ADDRESS_BYTES: Readonly<Record<number, number>> = { [TCP4]: 12, [TCP6]: 36, [UNIX_STREAM]: 216 }

/** Names the version of the header that these bytes begin with; undefined when they begin with none. */
export function proxyHeaderVersion(bytes: Buffer): 1 | 2 | undefined {
  if (bytes.subarray(0, SIGNATURE_2.length).equals(SIGNATURE_2)) return 2
  return bytes.subarray(0, SIGNATURE_1.length).equals(SIGNATURE_1) ? 1 : undefined
}

export function readProxyHeader(bytes: Buffer): ProxyHeaderRead {
  if (beginsLike(bytes, SIGNATURE_2)) return bytes.length < HEAD_BYTES_2 ? 'more' : version2(bytes)
  if (beginsLike(bytes, SIGNATURE_1)) return version1(bytes)
  return { fault: 'sends no header of the PROXY protocol' }
}

function beginsLike(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length)
  return bytes.subarray(0, length).equals(signature.subarray(0, length))
}

function version1(bytes: Buffer): ProxyHeaderRead {
  const end = bytes.subarray(0, MAX_BYTES_1).indexOf('\r\n')
  if (end < 0)
    return bytes.length < MAX_BYTES_1 ? 'more' : { fault: 'sends a header (version 1) without an end' }
  const [, kind, source = '', target = '', from = '', to = '', ...rest] = bytes
    .toString('latin1', 0, end)
    .split(' ')
  const header = { address: undefined, bytes: end + 2 }
  if (kind === 'UNKNOWN') return header
  const isAddress = kind === 'TCP4' ? isIPv4 : kind === 'TCP6' ? isIPv6 : () => false
  const isWhole = isAddress(source) && isAddress(target) && isPort(from) && isPort(to) && rest.length === 0
  return isWhole
    ? { ...header, address: canonical(source) }
    : { fault: 'sends a malformed header (version 1)' }
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535
}

function version2(bytes: Buffer): ProxyHeaderRead {
  const versionAndCommand = bytes[12] as number
  const family = bytes[13] as number
  const length = bytes.readUInt16BE(14)
  const command = versionAndCommand & 0x0f
  if (versionAndCommand >> 4 !== 2) return { fault: `sends a header of version ${versionAndCommand >> 4}` }
  if (command !== LOCAL && command !== PROXY) return { fault: `sends a header with the command ${command}` }
  if (length > MAX_BODY_BYTES_2) return { fault: `sends a header of ${length + HEAD_BYTES_2} bytes` }
  if (bytes.length < HEAD_BYTES_2 + length) return 'more'
  const header = { address: undefined, bytes: HEAD_BYTES_2 + length }
  if (command === LOCAL || family === UNSPECIFIED) return header
  const needed = ADDRESS_BYTES[family]
  if (needed === undefined)
    return { fault: `sends a header about something else than a stream (family ${family})` }
  if (length < needed) return { fault: 'sends a header (version 2) without addresses' }
  return { ...header, address: addressIn(bytes.subarray(HEAD_BYTES_2), family) }
}

function addressIn(body: Buffer, family: number): string | undefined {
  if (family === TCP4) return body.subarray(0, 4).join('.')
  if (family !== TCP6) return undefined
  const groups = Array.from({ length: 8 }, (_, i) => body.readUInt16BE(2 * i).toString(16))
  return canonical(groups.join(':'))
}

/** Returns an address as the system writes it: limits and logs know one address by one name. */
function canonical(address: string): string {
  const { address: written } = new SocketAddress({ address, family: isIPv6(address) ? 'ipv6' : 'ipv4' })
  return unmappedAddress(written)
}
