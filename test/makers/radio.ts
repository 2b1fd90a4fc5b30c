import { createServer, type Server } from 'node:net'

/** A radio that rtl_433 takes over the network (`-d rtl_tcp:…`): it hears one thermometer, again and again. */

const PAUSE_MS = 1500
const SAMPLES_PER_SECOND = 250_000
/** An I/Q pair of unsigned bytes; 128 is nothing. */
const SILENCE = [128, 128]
const CARRIER = [250, 128]

/** A message of a Nexus thermometer: 36 bits, the length of each pause says which. */
function bitsOf(id: number, celsius: number, humidity: number): string {
  const binary = (value: number, bits: number) => value.toString(2).padStart(bits, '0')
  // Battery good, channel 1.
  return `${binary(id, 8)}1000${binary(Math.round(celsius * 10), 12)}1111${binary(humidity, 8)}`
}

function samples(pair: readonly number[], microseconds: number): Buffer {
  const count = Math.round((microseconds * SAMPLES_PER_SECOND) / 1e6)
  return Buffer.alloc(count * 2, Buffer.from(pair))
}

/** The message as the sensor sends it: twelve times in a row. */
function signal(bits: string): Buffer {
  const pulse = samples(CARRIER, 500)
  const once = [...bits].flatMap((bit) => [pulse, samples(SILENCE, bit === '1' ? 2000 : 1000)])
  const message = Buffer.concat([...once, pulse, samples(SILENCE, 4000)])
  return Buffer.concat([...Array.from({ length: 12 }, () => message), samples(SILENCE, 300_000)])
}

/** Listens on a free port of this machine. */
export async function startRadio(): Promise<{ readonly port: number; close(): void }> {
  const heard = signal(bitsOf(42, 4.2, 81))
  const server: Server = createServer((socket) => {
    const header = Buffer.alloc(12)
    header.write('RTL0')
    // Tuner R820T, 29 gains.
    header.writeUInt32BE(5, 4)
    header.writeUInt32BE(29, 8)
    socket.write(header)
    // Slower than real time, so that the receiver has little to do.
    const again = setInterval(() => socket.write(heard), PAUSE_MS)
    socket.on('error', () => {}).on('close', () => clearInterval(again))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return { port, close: () => server.close() }
}
