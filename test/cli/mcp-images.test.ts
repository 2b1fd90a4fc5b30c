import { expect, test } from 'vitest'
import { withoutImages } from '../../src/mcp/images.ts'
import { TOOLS } from '../../src/mcp/tools.ts'

const PNG = Buffer.from('89504e470d0a1a0a00fbff', 'hex').toString('base64')
const bare = PNG.replace(/=+$/, '')
const url = bare.replaceAll('+', '-').replaceAll('/', '_')

test.each([
  ['image/jpg', { mimeType: 'image/jpg', base64: PNG }, 'image/jpeg'],
  ['capital letters', { mimeType: 'IMAGE/PNG', base64: PNG }, 'image/png'],
  ['line breaks', { mimeType: 'image/png', base64: `${PNG.slice(0, 4)}\r\n${PNG.slice(4)}` }, 'image/png'],
  ['no padding', { mimeType: 'image/png', base64: bare }, 'image/png'],
  ['base64url', { mimeType: 'image/png', base64: url }, 'image/png'],
  ['the form of MCP', { type: 'image', mimeType: 'image/webp', data: PNG }, 'image/webp'],
  ['a data: URI', `data:image/gif;base64,${PNG}`, 'image/gif'],
])(
  'a picture that is almost right is an image, and no letters of it are text: %s',
  (_how, picture, mimeType) => {
    const { value, images } = withoutImages({ data: { shot: picture, note: 'kept' } })
    expect(images).toMatchObject([{ type: 'image', data: PNG, mimeType }])
    expect(value).toEqual({ data: { shot: { mimeType, bytes: 11, image: 1 }, note: 'kept' } })
  },
)

test('long base64 that is no picture, and text without end, are replaced by their size and hash', () => {
  const { value, images } = withoutImages({
    data: { blob: 'A'.repeat(8000), log: 'two words '.repeat(9000), short: 'abcd' },
  })
  const place = {
    bytes: expect.any(Number),
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    note: expect.any(String),
  }
  expect(value).toEqual({ data: { blob: place, log: place, short: 'abcd' } })
  expect(images).toEqual([])
})

test('limb_invoke says that params is an object, takes the text of one, and takes null and "" as absent', () => {
  const invoke = TOOLS.find((tool) => tool.name === 'limb_invoke')
  expect(invoke?.inputSchema.properties?.params).toMatchObject({ type: 'object' })
  const args = {
    nodeId: 'r1',
    capability: null,
    command: 'a.b',
    idempotencyKey: '',
    params: '{"x": null, "y": ""}',
  }
  expect(invoke?.request(args).args).toEqual({ nodeId: 'r1', command: 'a.b', params: { x: null, y: '' } })
})

test('a long run of padding in the middle of a text is looked through once, not once for each of its signs', () => {
  // With an expression that grows with the square of the run this takes hours.
  const { images } = withoutImages({ data: { x: `${'='.repeat(1_000_000)}x` } })
  expect(images).toEqual([])
})
