import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { createLog, type LogOptions } from '../../../src/host/log/log.ts'

const HOSTILE = 'cam\nINFO: all is well\r\x1b[2J\u009b31m\u2028\u202eevil\x07\x7f'
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come through
const OBEYED = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]/

function capture(options: Partial<LogOptions> = {}) {
  const lines: string[] = []
  const log = createLog({
    level: 'info',
    format: 'json',
    terminal: false,
    write: (line) => lines.push(line),
    ...options,
  })
  return { log, lines }
}

describe.each(['json', 'pretty'] as const)('%s', (format) => {
  test('nothing from the network starts a line or an escape sequence', () => {
    const { log, lines } = capture({ format })
    log.warn({ nodeId: HOSTILE, [HOSTILE]: 1, deep: { list: [HOSTILE] }, name: HOSTILE }, `denied ${HOSTILE}`)
    expect(lines).toHaveLength(1)
    expect(lines[0]).not.toMatch(OBEYED)
    expect(lines[0]?.trimEnd()).not.toContain('\n')
    expect(lines[0]).toContain('all is well')
  })

  test('an error whose message comes from the network cannot write lines of its own', () => {
    const { log, lines } = capture({ format })
    log.error({ err: new Error(`${HOSTILE}\n    at fake (x.ts:1:1)`) }, 'failed')
    const text = lines.join('')
    expect(text).not.toMatch(OBEYED)
    const below = text.trimEnd().split('\n').slice(1)
    expect(below.every((line) => /^ {4}at /.test(line))).toBe(true)
    expect(below.some((line) => line.includes('fake'))).toBe(false)
  })

  test('secrets that are handed in by mistake do not come out', () => {
    const { log, lines } = capture({ format })
    const secret = 'correct horse'
    log.info({ password: secret, a: { apiKey: secret, b: { api_key: secret, c: [{ token: secret }] } } }, 'x')
    log.child({ key: secret }).info({ err: Object.assign(new Error('x'), { password: secret }) }, 'y')
    expect(lines.join('')).not.toContain(secret)
    expect(lines.join('')).toContain('[secret]')
  })

  test('a huge or deep value becomes a short line', () => {
    const { log, lines } = capture({ format })
    const loop: Record<string, unknown> = {}
    loop.loop = loop
    log.info(
      { text: 'x'.repeat(1_000_000), list: Array(100_000).fill('y'), loop, big: 10n },
      'z'.repeat(100_000),
    )
    expect(lines[0]?.length).toBeLessThan(10_000)
  })
})

test('JSON lines hold level, time, message and fields, and parse back to what was logged', () => {
  const { log, lines } = capture()
  log.info({ nodeId: HOSTILE }, 'online')
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    nodeId: HOSTILE,
    msg: 'online',
  })
})

test('a field named like what the log writes itself gets another name, and each line has one level', () => {
  const { log, lines } = capture()
  log.child({ msg: 'child' }).info({ level: 'always', time: 5, deep: { level: 1 } }, 'a policy is set')
  expect(lines[0]?.match(/"(level|time|msg)":/g)).toEqual(['"level":', '"time":', '"level":', '"msg":'])
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    level: 'info',
    time: expect.stringMatching(/Z$/),
    field_level: 'always',
    field_time: 5,
    field_msg: 'child',
    deep: { level: 1 },
    msg: 'a policy is set',
  })
  const pretty = capture({ format: 'pretty' })
  pretty.log.info({ level: 'always' }, 'a policy is set')
  expect(pretty.lines[0]).toMatch(/ INFO: a policy is set field_level=always$/m)
})

test('a line for people has no second copy of what it says, and the rest in words', () => {
  const { log, lines } = capture({ format: 'pretty' })
  const ends = (line: string | undefined) => line?.replace(/^.*?: /, '').trimEnd()
  log.info({ nodeId: 'cam1', address: '10.0.0.7', suppressed: 3 }, 'cam1 asks from 10.0.0.7')
  log.info({ mqtt: { host: '127.0.0.1', port: 1883 }, control: '/run/a b' }, 'ready')
  log.info({ rows: 1, list: [1, 2], none: null }, '12 rows')
  expect(lines.map(ends)).toEqual([
    'cam1 asks from 10.0.0.7 suppressed=3',
    'ready mqtt=127.0.0.1:1883 control="/run/a b"',
    '12 rows rows=1 list=[1,2] none=null',
  ])
})

test('a change of level reaches every child that was made before', () => {
  const { log, lines } = capture()
  const child = log.child({ part: 'broker' }).child({ session: 1 })
  child.debug({}, 'unseen')
  log.setLevel('debug')
  child.debug({ x: 2 }, 'seen')
  log.setLevel('silent')
  child.fatal({}, 'unseen')
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { part: 'broker', session: 1, x: 2, msg: 'seen' },
  ])
})

test('a disk too full for a line of the log does not end the process', () => {
  const full = openSync('/dev/full', 'w')
  const source = `
    import { createLog } from ${JSON.stringify(new URL('../../../src/host/log/log.ts', import.meta.url).href)}
    const log = createLog({ level: 'info', format: 'json' })
    for (let i = 0; i < 3; i++) log.info({ i }, 'x'.repeat(1000))
    process.stderr.write('goes on')`
  try {
    const stdio = ['ignore', full, 'pipe'] as const
    const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
      stdio: [...stdio],
      encoding: 'utf8',
    })
    expect({ stderr, status }).toEqual({ stderr: 'goes on', status: 0 })
  } finally {
    closeSync(full)
  }
})
