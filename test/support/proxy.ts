import { once } from 'node:events'
import { connect, isIPv4, type Socket } from 'node:net'

/** A proxy's side of the PROXY protocol. */

interface Header2 {
  readonly source?: string
  readonly version?: number
  readonly command?: number
  readonly family?: number
  readonly body?: Buffer
  /** Bytes that follow the addresses. */
  readonly extra?: number
}

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

/** Makes a header of version 2. */
export function version2({
  source = '192.0.2.1',
  version = 2,
  command = 1,
  extra = 0,
  ...more
}: Header2): Buffer {
  const is4 = isIPv4(source)
  const family = more.family ?? (is4 ? 0x11 : 0x21)
  const address = is4 ? Buffer.from(source.split('.').map(Number)) : bytes6(source)
  const ports = Buffer.from([0xdc, 4, 7, 0x5b])
  const body = more.body ?? Buffer.concat([address, address, ports, Buffer.alloc(extra)])
  const head = Buffer.from([(version << 4) | command, family, body.length >> 8, body.length & 0xff])
  return Buffer.concat([SIGNATURE, head, body])
}

function bytes6(address: string): Buffer {
  const mapped = /^::ffff:([\d.]+)$/.exec(address)?.[1]
  if (mapped !== undefined) {
    return Buffer.concat([Buffer.alloc(10), Buffer.from([255, 255, ...mapped.split('.').map(Number)])])
  }
  const [head = '', tail] = address.split('::')
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const [before, after] = [groups(head), groups(tail ?? '')]
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after]
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]))
}

/** Connects as a proxy does: the header is on its way when this resolves. */
export async function proxied(port: number, header: Buffer | string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port })
  await once(socket, 'connect')
  socket.write(header)
  return socket
}
