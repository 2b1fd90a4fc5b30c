import { spawnSync } from 'node:child_process'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { run } from '../run.ts'

/** Parameters of a limb's command as options of `invoke`. */

const LAMP = {
  displayName: 'Lamp',
  platform: 'esp32',
  capabilities: [
    {
      cap: 'light',
      commands: [
        {
          name: 'lamp.set',
          title: 'Set the lamp',
          timeoutSeconds: 77,
          input: {
            type: 'object',
            properties: {
              brightness: { type: 'integer', minimum: 0, maximum: 100, unit: '%', description: 'How bright' },
              fadeSeconds: { type: 'number' },
              mode: { type: 'string', enum: ['warm', 'cold'] },
              on: { type: 'boolean' },
              rgb: { type: 'array', items: { type: 'integer' } },
            },
            required: ['brightness'],
          },
        },
        'lamp.blink',
      ],
      authLevel: 'free',
    },
  ],
}

let app: TestApp & AsyncDisposable
let lamp: TestClient

beforeEach(async () => {
  app = await startApp({}, { memory: true })
  lamp = await app.limb('lamp1', LAMP)
  await lamp.subscribe('limb/node/lamp1/invoke')
  await lamp.publish('limb/node/lamp1/heartbeat')
  await lamp.settle()
})
afterEach(() => app[Symbol.asyncDispose]())

const invoke = (...argv: string[]) => run(['invoke', ...argv, '--socket', app.bridge.control])

/** The limb answers its next invocation; resolves with what it was sent. */
async function answered(): Promise<Loose> {
  const { json } = await lamp.next('limb/node/lamp1/invoke')
  await lamp.publish('limb/node/lamp1/result', { invocationId: json.invocationId, success: true })
  return json
}

test.each([
  [['lamp.set', '--node-id', 'lamp1', '--brightness', '40'], { brightness: 40 }],
  [['lamp.set', 'lamp1', '--brightness=0', '--on'], { brightness: 0, on: true }],
  [
    ['lamp.set', 'lamp1', '--on', 'false', '--fade-seconds', '-1.5', '--mode', 'warm', '--brightness', '7'],
    { brightness: 7, on: false, fadeSeconds: -1.5, mode: 'warm' },
  ],
  [
    [
      'lamp.set',
      'lamp1',
      '--params',
      '{"brightness": 1, "mode": "cold"}',
      '--brightness',
      '2',
      '--rgb',
      '[1,2]',
    ],
    { brightness: 2, mode: 'cold', rgb: [1, 2] },
  ],
])('%j sends %j', async (argv, params) => {
  const [{ code, err }, told] = await Promise.all([invoke(...argv), answered()])
  expect([code, err]).toEqual([0, ''])
  expect(told.params).toEqual(params)
})

test.each([
  [['lamp.set', 'lamp1', '--brightnes', '40'], 'did you mean --brightness?'],
  [['lamp.set', 'lamp1', '--brightness', 'bright'], 'is no whole number'],
  [['lamp.set', 'lamp1', '--brightness'], 'needs a value'],
  [['lamp.set', 'lamp1', '--brightness', '4', '--on', 'maybe'], 'true or false'],
  [['lamp.set', '--capability', 'light', '--brightness', '4'], 'name the limb with --node-id'],
  [['lamp.blink', 'lamp1', '--times', '4'], 'does not describe'],
  [['lamp.blink', 'lamp1', '--timeout-second', '4'], 'did you mean --timeout-seconds?'],
  [['lamp.blink', 'lamp1', '--offline-wait', '4'], 'did you mean --offline-wait-seconds?'],
  [['lamp.set', 'lamp1', '--key', 'k1'], 'did you mean --idempotency-key?'],
  [['lamp.set', 'lamp1', '--timeout', '4'], 'did you mean --timeout-seconds?'],
  [['lamp.sett', 'lamp1', '--brightness', '4'], 'did you mean lamp.set?'],
])('%j is wrong usage and runs nothing: %s', async (argv, text) => {
  const { code, err } = await invoke(...argv)
  expect(err).toContain(text)
  expect(code).toBe(2)
  const admin = await app.admin()
  expect((await admin.do('admin', 'invocation/list')).items).toEqual([])
})

test('a value that does not fit the schema is refused by the bridge with its place', async () => {
  const { code, err } = await invoke('lamp.set', 'lamp1', '--brightness', '400')
  expect(code).toBe(1)
  expect(err).toContain('params.brightness')
})

test.each([
  ['--node-id', 'lamp1', '--help'],
  ['lamp1', '--help'],
  ['--brightness', '40', 'lamp1', '-h'],
])('%j shows what the command of the limb takes', async (...words) => {
  const { code, out } = await invoke('lamp.set', ...words)
  expect(code).toBe(0)
  expect(out).toContain('Parameters of lamp.set on lamp1 (Set the lamp):')
  expect(out).toMatch(/--brightness <integer> +How bright; from 0 to 100 % \(required\)/)
  expect(out).toContain('--mode <warm|cold>')
  expect(out).toContain('--fade-seconds <number>')
  expect(out).toContain('It may take 77 seconds.')
  expect(out).toContain('--idempotency-key')
})

test('bash completes the options that the limb describes, and nothing else that it says', async () => {
  const { out: script } = await run(['completion', 'bash'])
  const { out: help } = await invoke('lamp.set', '--node-id', 'lamp1', '--help')
  const words = ['limb-bridge', 'invoke', 'lamp.set', '--node-id', 'lamp1', '--b']
  const hostile = '  --$(touch hacked) <string>     x'
  const bash = spawnSync('bash', ['-s'], {
    encoding: 'utf8',
    input: [
      `limb-bridge() { cat <<'END'\n${help}${hostile}\nEND\n}`,
      script,
      `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=5; _limb_bridge; printf '%s\\n' "\${COMPREPLY[@]}"`,
      `COMP_WORDS[5]='-'; _limb_bridge; printf '%s\\n' "\${COMPREPLY[@]}"`,
    ].join('\n'),
  })
  expect(bash.stderr).toBe('')
  const [first, ...all] = bash.stdout.trim().split('\n')
  expect(first).toBe('--brightness')
  expect(all).toEqual(expect.arrayContaining(['--mode', '--fade-seconds', '--timeout-seconds']))
  expect(bash.stdout).not.toContain('touch')
})

test('a limb has the time that the description of its command says, unless the caller says another', async () => {
  const secondsOf = async (...more: string[]) => {
    const asked = Date.now()
    const [, told] = await Promise.all([
      invoke('lamp.set', 'lamp1', '--brightness', '4', ...more),
      answered(),
    ])
    return (Date.parse(told.deadline) - asked) / 1000
  }
  const described = await secondsOf()
  expect(described).toBeGreaterThan(70)
  expect(described).toBeLessThan(140)
  expect(await secondsOf('--timeout-seconds', '300')).toBeGreaterThan(290)
})
