import { crc32, deflateSync } from 'node:zlib'

/** Draws a PNG: what a demonstration's camera sees. */

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
/** Eight bits for each of red, green and blue. */
const TRUE_COLOUR = 2

export type Colour = readonly [red: number, green: number, blue: number]

/** `colourAt` is asked for each pixel, with both coordinates from 0 to 1. */
export function drawPng(width: number, height: number, colourAt: (x: number, y: number) => Colour): Buffer {
  const raw = Buffer.alloc(height * (1 + width * 3))
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      raw.set(colourAt(x / width, y / height), y * (1 + width * 3) + 1 + x * 3)
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, TRUE_COLOUR], 8)
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, check])
}

/** A yard in the evening: sky, sun, ground and a path; the sun stands where `turn` says. */
export function yard(turn: number): Buffer {
  const sunX = 0.2 + 0.6 * (turn % 1)
  return drawPng(320, 200, (x, y) => {
    if (Math.hypot((x - sunX) * 1.6, y - 0.3) < 0.09) return [255, 226, 150]
    if (y < 0.62) return [120 + Math.round(110 * y), 150 + Math.round(40 * y), 190 - Math.round(70 * y)]
    const onPath = Math.abs(x - 0.5) < 0.06 + (y - 0.62) * 0.5
    return onPath ? [196, 180, 150] : [70, 110 - Math.round(40 * (y - 0.62)), 66]
  })
}
