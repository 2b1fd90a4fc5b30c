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

const REAL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
const JPEG = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(90, 7)]).toString('base64')

test.each<[string, unknown, string]>([
  ['an older name of its type', { mimeType: 'image/pjpeg', base64: JPEG }, 'image/jpeg'],
  ['an experimental name of it', { mimeType: 'image/x-png', base64: REAL }, 'image/png'],
  ['parameters of its type', { mimeType: 'image/png; charset=binary', base64: REAL }, 'image/png'],
  ['the key of HTTP', { contentType: 'image/jpeg', body: JPEG }, 'image/jpeg'],
  ['keys of Python', { mime_type: 'image/jpeg', data: JPEG }, 'image/jpeg'],
  ['a format alone', { format: 'jpeg', image: JPEG }, 'image/jpeg'],
  ['no type at all', JPEG, 'image/jpeg'],
  ['a data: URI with parameters', `data:image/png;name=a.png;base64,${REAL}`, 'image/png'],
  ['the bytes of a buffer', Buffer.from(REAL, 'base64').toJSON(), 'image/png'],
  ['numbers', [...Buffer.from(REAL, 'base64')], 'image/png'],
  ['JSON in a text', JSON.stringify({ mimeType: 'image/png', base64: REAL }), 'image/png'],
])('a picture in the words of another program is an image too: %s', (_how, picture, mimeType) => {
  const { value, images } = withoutImages({ data: { a: { b: { c: { d: { e: { shot: picture } } } } } } })
  expect(images).toMatchObject([{ type: 'image', data: mimeType === 'image/png' ? REAL : JPEG, mimeType }])
  expect(value).toEqual({
    data: { a: { b: { c: { d: { e: { shot: { mimeType, bytes: expect.any(Number), image: 1 } } } } } } },
  })
})

test('the form of other libraries is one image, and a picture in artifactUri is one', () => {
  const source = { type: 'base64', media_type: 'image/png', data: REAL }
  const { value, images } = withoutImages({
    data: { type: 'image', source },
    artifactUri: `data:image/png;base64,${REAL}`,
  })
  expect(images.map(({ data }) => data)).toEqual([REAL, REAL])
  expect(value).toEqual({
    data: { type: 'image', source: { mimeType: 'image/png', bytes: 70, image: 1 } },
    artifact: { mimeType: 'image/png', bytes: 70, image: 2 },
  })
})

test('what is no picture stays as it is: words, few numbers, JSON in a text, a link', () => {
  const data = {
    words: 'hello world '.repeat(1000),
    levels: Array.from({ length: 300 }, (_, i) => i % 256),
    json: JSON.stringify({ log: 'x'.repeat(200), n: [1, 2, 3] }),
    type: 'image/png',
    content: 'front door camera view',
    image: '/snapshots/frontdoor/latest',
    body: 'no motion detected',
    blob: 'the lens was open, and nothing was seen',
    data: 'on',
  }
  const link = 'https://store.example/a.png'
  const { value, images } = withoutImages({ data, artifactUri: link })
  expect(images).toEqual([])
  expect(value).toEqual({ data, artifactUri: link })
})

test('data that is small in each of its parts and large in all is left out too', () => {
  const data = Object.fromEntries(Array.from({ length: 9000 }, (_, i) => [`k${i}`, 'v'.repeat(40)]))
  expect(withoutImages({ data }).value).toEqual({
    data: {
      bytes: expect.any(Number),
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      note: expect.any(String),
    },
  })
})

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
