import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kernel/errors.ts'
import { check, decodeRegistration } from '../../src/protocol/decode.ts'
import { descriptionSchema } from '../../src/protocol/descriptions.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import {
  errorBodySchema,
  invocationResultSchema,
  pairingAnswerSchema,
  stateSchema,
} from '../../src/protocol/schemas.ts'

const bytes = (value: unknown) =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))

function refusalOf(work: () => unknown): Refusal {
  try {
    work()
  } catch (error) {
    if (error instanceof Refusal) return error
    throw error
  }
  throw new Error('was accepted')
}

const camera = { cap: 'camera', commands: ['camera.snap'], authLevel: 'leased' }
const plain = { displayName: 'Front camera', platform: 'esp32', capabilities: [camera] }
const withUrl = (endpointUrl: string) => ({ ...plain, endpointUrl })
const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i))

describe('a registration', () => {
  it.each([
    ['with the least', { displayName: 'x', platform: 'y', capabilities: [] }],
    ['as in the documents', plain],
    [
      'with everything',
      {
        ...plain,
        endpointUrl: 'http://192.168.1.50:9090',
        invoke: 'http',
        firmware: '1.2.0',
        heartbeatSeconds: 15,
      },
    ],
    ['with a name in any script', { ...plain, displayName: 'Kamera Gänseblümchen 前門 🎥' }],
    ['with a name as long as it may be', { ...plain, displayName: 'x'.repeat(LIMITS.displayNameChars) }],
    ['with the shortest interval', { ...plain, heartbeatSeconds: 5 }],
    ['with the longest interval', { ...plain, heartbeatSeconds: 3600 }],
    ['with a capability without commands', { ...plain, capabilities: [{ ...camera, commands: [] }] }],
    ['with an IPv6 endpoint', withUrl('http://[fe80::1]:9090/limb')],
    [
      'with every list full',
      {
        ...plain,
        capabilities: many(LIMITS.capabilities, (i) => ({
          cap: `c${i}-${'x'.repeat(50)}`,
          commands: many(LIMITS.commandsPerCapability, (j) => `c${i}.${j}-${'x'.repeat(50)}`),
          authLevel: 'free',
        })),
      },
    ],
  ])('is accepted %s', (_what, value) => {
    expect(decodeRegistration(bytes(value))).toEqual(value)
  })

  it('may carry keys of a newer firmware, which are dropped at every depth', () => {
    const newer = { ...plain, battery: 7, capabilities: [{ ...camera, colour: 'red' }], 'x-y': { z: 1 } }
    expect(decodeRegistration(bytes(newer))).toEqual(plain)
  })

  it.each([
    ['no name', { platform: 'x', capabilities: [] }, 'displayName'],
    ['an empty name', { ...plain, displayName: '' }, 'displayName'],
    ['a blank name', { ...plain, displayName: '  \u00a0 ' }, 'displayName'],
    ['a name that is a number', { ...plain, displayName: 7 }, 'displayName'],
    ['a name that is too long', { ...plain, displayName: 'x'.repeat(101) }, 'displayName'],
    ['a line feed in the name', { ...plain, displayName: 'Front\nrequest approved' }, 'displayName'],
    ['an escape sequence in the name', { ...plain, displayName: '\u001b[2J' }, 'displayName'],
    ['a NUL in the name', { ...plain, displayName: 'a\u0000b' }, 'displayName'],
    ['a C1 control in the name', { ...plain, displayName: 'a\u009bb' }, 'displayName'],
    ['a mark that turns the direction', { ...plain, displayName: 'abc\u202etxt' }, 'displayName'],
    ['an isolate mark', { ...plain, displayName: 'abc\u2066txt' }, 'displayName'],
    ['a mark nobody sees', { ...plain, displayName: 'admin\u200b' }, 'displayName'],
    ['a byte order mark', { ...plain, displayName: '\ufeffcam' }, 'displayName'],
    ['a line separator', { ...plain, displayName: 'a\u2028b' }, 'displayName'],
    ['a lone surrogate', '{"displayName":"a\\ud800","platform":"x","capabilities":[]}', 'displayName'],
    ['no platform', { displayName: 'x', capabilities: [] }, 'platform'],
    ['a platform that is too long', { ...plain, platform: 'x'.repeat(64) }, 'platform'],
    ['no capabilities', { displayName: 'x', platform: 'y' }, 'capabilities'],
    ['capabilities that are an object', { ...plain, capabilities: {} }, 'capabilities'],
    [
      'too many capabilities',
      { ...plain, capabilities: many(65, (i) => ({ ...camera, cap: `c${i}` })) },
      'capabilities',
    ],
    ['a capability twice', { ...plain, capabilities: [camera, camera] }, 'capabilities'],
    ['a capability that is null', { ...plain, capabilities: [null] }, 'capabilities[0]'],
    [
      'a capability without a name',
      { ...plain, capabilities: [{ ...camera, cap: '' }] },
      'capabilities[0].cap',
    ],
    [
      'a second capability with a bad name',
      { ...plain, capabilities: [camera, { ...camera, cap: 'a/b' }] },
      'capabilities[1].cap',
    ],
    [
      'a capability named __proto__',
      { ...plain, capabilities: [{ ...camera, cap: '__proto__' }] },
      'capabilities[0].cap',
    ],
    [
      'an unknown level',
      { ...plain, capabilities: [{ ...camera, authLevel: 'open' }] },
      'capabilities[0].authLevel',
    ],
    [
      'a command that is a wildcard',
      { ...plain, capabilities: [{ ...camera, commands: ['*'] }] },
      'capabilities[0].commands[0]',
    ],
    [
      'a command twice',
      { ...plain, capabilities: [{ ...camera, commands: ['a', 'a'] }] },
      'capabilities[0].commands',
    ],
    [
      'too many commands',
      { ...plain, capabilities: [{ ...camera, commands: many(65, (i) => `c${i}`) }] },
      'capabilities[0].commands',
    ],
    ['an endpoint that is no URL', withUrl('192.168.1.50'), 'endpointUrl'],
    ['an endpoint of another scheme', withUrl('file:///etc/passwd'), 'endpointUrl'],
    ['a script as endpoint', withUrl('javascript:alert(1)'), 'endpointUrl'],
    ['a password in the endpoint', withUrl('http://a:b@host/'), 'endpointUrl'],
    ['white space in the endpoint', withUrl('http://host/\tx'), 'endpointUrl'],
    ['port 0 in the endpoint', withUrl('http://host:0/x'), 'endpointUrl'],
    ['port 0 in an IPv6 endpoint, written at length', withUrl('https://[fd00::1]:00000'), 'endpointUrl'],
    ['an endpoint that is too long', withUrl(`http://host/${'x'.repeat(2048)}`), 'endpointUrl'],
    ['an unknown way of invoking', { ...plain, invoke: 'coap' }, 'invoke'],
    ['invocation over HTTP without an endpoint', { ...plain, invoke: 'http' }, 'endpointUrl'],
    ['an interval below the shortest', { ...plain, heartbeatSeconds: 4 }, 'heartbeatSeconds'],
    ['an interval beyond the longest', { ...plain, heartbeatSeconds: 604_801 }, 'heartbeatSeconds'],
    ['half a second', { ...plain, heartbeatSeconds: 5.5 }, 'heartbeatSeconds'],
    ['an interval as text', { ...plain, heartbeatSeconds: '15' }, 'heartbeatSeconds'],
    ['an interval that is null', { ...plain, heartbeatSeconds: null }, 'heartbeatSeconds'],
    ['a firmware that is too long', { ...plain, firmware: 'x'.repeat(64) }, 'firmware'],
  ])('is refused for %s, with the path of the key', (_what, value, path) => {
    const refusal = refusalOf(() => decodeRegistration(bytes(value)))
    expect(refusal.code).toBe('invalid_request')
    expect(refusal.path).toBe(path)
    expect(refusal.message.startsWith(`${path}: `)).toBe(true)
    expect(errorBodySchema.parse(refusal.body())).toEqual(refusal.body())
  })

  it.each([[[]], ['"text"'], ['7'], ['null'], ['true']])('is refused when it is %j', (value) => {
    const refusal = refusalOf(() => decodeRegistration(bytes(value)))
    expect(refusal.code).toBe('invalid_request')
    expect(refusal.path).toBeUndefined()
  })

  it('cannot reach the prototype of anything', () => {
    const text =
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"displayName":"x","platform":"y","capabilities":[]}'
    const registration = decodeRegistration(bytes(text))
    expect(Object.keys(registration).sort()).toEqual(['capabilities', 'displayName', 'platform'])
    expect(Object.getPrototypeOf(registration)).toBe(Object.prototype)
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  it('says in one short message what is wrong, whatever was sent', () => {
    const refusal = refusalOf(() => decodeRegistration(bytes({ ...plain, invoke: 'x'.repeat(10_000) })))
    expect(refusal.message.length).toBeLessThan(300)
  })
})

describe('what the bridge says', () => {
  const at = '2026-01-02T03:04:05.006Z'
  const state = {
    nodeId: 'cam',
    displayName: 'x',
    platform: 'y',
    capabilities: [],
    status: 'offline',
    reason: 'approved',
    since: at,
    lastHeartbeatAt: null,
    approvedAt: at,
    approvedBy: 'window:admin',
  }

  it('has times in UTC with milliseconds and nothing else', () => {
    expect(stateSchema.safeParse(state).success).toBe(true)
    for (const since of [
      '2026-01-02T03:04:05Z',
      '2026-01-02T03:04:05.006+01:00',
      '2026-01-02',
      1_767_323_045,
    ]) {
      expect(stateSchema.safeParse({ ...state, since }).success).toBe(false)
    }
  })

  it('is one of four pairing answers', () => {
    const answers = [
      { status: 'pending', requestId: 'pr_1', code: 'BCDFGHJK', expiresAt: at },
      { status: 'approved', heartbeatSeconds: 15, timeoutSeconds: 45, capabilities: [] },
      { status: 'rejected' },
      { status: 'error', error: { code: 'too_many_requests', message: 'wait' } },
    ]
    for (const answer of answers) expect(check(pairingAnswerSchema, answer)).toEqual(answer)
    expect(pairingAnswerSchema.safeParse({ ...answers[0], code: 'ABCDEFGH' }).success).toBe(false)
    expect(pairingAnswerSchema.safeParse({ status: 'maybe' }).success).toBe(false)
  })
})

describe('the artifactUri of a result', () => {
  const result = (artifactUri: string) => ({ invocationId: 'iv_1', success: true, artifactUri })
  const PNG = 'data:image/png;base64,iVBORw0KGgo='

  it.each([
    ...['http', 'ftp', 'rtsp', 's3', 'my-store'].map((scheme) => `${scheme}://192.168.1.50/42.jpg?a=b#c`),
    'urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
    'HTTPS://host/x',
    'http://[::1]:8080/größe.jpg',
    'file:///mnt/share/42.jpg',
    PNG,
  ])('may be %s', (uri) => {
    expect(check(invocationResultSchema, result(uri))).toEqual(result(uri))
  })

  it.each([
    'javascript:alert(1)',
    'JavaScript://host/%0aalert(1)',
    'java\nscript:alert(1)',
    ' javascript:alert(1)',
    '\u0001javascript:alert(1)',
    'vbscript:x',
    'data:text/html,<script>alert(1)</script>',
    'data:image/svg+xml;base64,PHN2Zz4=',
    'data:image/png,<script>',
    'blob:http://host/x',
    '/42.jpg',
    '42.jpg',
    'http://',
    '',
    `http://host/${'x'.repeat(LIMITS.urlChars)}`,
  ])('may not be %j', (uri) => {
    const refusal = refusalOf(() => check(invocationResultSchema, result(uri)))
    expect(refusal).toMatchObject({ code: 'invalid_request', path: 'artifactUri' })
  })
})

it('a description of 16 KiB is taken, and none that is a byte longer', () => {
  const described = (bytes: number) => {
    const properties: object[] = []
    const size = (description: string) => Buffer.byteLength(JSON.stringify({ description, properties }))
    for (let i = 0; bytes - size('') > LIMITS.helpChars; i++) {
      properties.push({ name: `p${i}`, topic: `data/${'x'.repeat(245)}`, type: 'number' })
    }
    const description = 'x'.repeat(bytes - size(''))
    expect(size(description)).toBe(bytes)
    return { description, properties }
  }
  const { success: taken, error } = descriptionSchema.safeParse(described(16_384))
  expect([taken, error?.issues]).toEqual([true, undefined])
  const refused = descriptionSchema.safeParse(described(16_385))
  expect(refused.error?.issues.map(({ message }) => message)).toEqual(['is longer than 16384 bytes'])
})
