import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { needs, skipWithout } from '../support/needs.ts'
import { patience } from '../support/patience.ts'

/** The Arduino library, compiled for this machine, over a real MQTT library against a real bridge. */

needs('cpp', 'libmosquitto')

const ROOT = join(import.meta.dirname, '../..')
const KEY = 'a-key-that-only-this-lamp-has'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-board-'))
}, patience(120_000))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function compile(...more: string[]): string {
  const board = join(folder, `board${more.join('')}`)
  const include = ['-Itest/makers/arduino', '-Iarduino/src']
  const sources = ['test/makers/arduino/board.cpp', 'arduino/src/LimbBridge.cpp']
  const strict = ['-std=c++17', '-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined']
  execFileSync('g++', [...strict, ...more, ...include, ...sources, '-lmosquitto', '-o', board], { cwd: ROOT })
  return board
}

/** A board that runs: its serial line, by lines. */
function power(board: string, app: TestApp, key = KEY) {
  const child = spawn(board, [String(app.bridge.mqtt.port), 'lamp1', key])
  let said = ''
  const waiting = new Set<() => void>()
  child.stdout.on('data', (chunk) => {
    said += chunk
    for (const look of waiting) look()
  })
  let errors = ''
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  return {
    errors: () => errors,
    seen: (text: string | RegExp) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (typeof text === 'string' ? !said.includes(text) : !text.test(said)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
    said: () => said,
    async [Symbol.asyncDispose]() {
      const end = new Promise((resolve) => child.once('exit', resolve))
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await end
      }
    },
  }
}

async function approve(app: TestApp, board: ReturnType<typeof power>): Promise<void> {
  await board.seen(/code [A-Z]{8}/)
  const code = /code ([A-Z]{8})/.exec(board.said())?.[1]
  const admin = await app.admin()
  const { items } = await admin.do('admin', 'pairing/list', {})
  expect(items).toMatchObject([{ nodeId: 'lamp1', code }])
  await admin.do('admin', 'pairing/approve', { requestId: items[0].requestId })
  await admin.end()
}

describe('a board with the Arduino library', () => {
  it.each([
    ['a board with plain functions', []],
    ['an ESP32', ['-DESP32']],
  ])(
    'on %s pairs, comes online, runs a command and tells its values',
    async (_kind, more) => {
      const program = compile(...more)
      await using app = await startApp()
      await using board = power(program, app)
      await approve(app, board)
      await board.seen('online')
      const admin = await app.admin()
      await admin.subscribe(['limb/node/lamp1/data/#', 'limb/node/lamp1/status'])
      // The board has sent its heartbeat; the bridge has still to hear it.
      await admin.next(({ topic, text }) => topic === 'limb/node/lamp1/status' && text === 'online')
      const node = await admin.do('admin', 'node/get', { nodeId: 'lamp1' })
      expect(node).toMatchObject({ displayName: 'Lamp "A" é', firmware: '1.0.0' })
      const invoke = (params: object) =>
        admin.do('admin', 'invoke', { nodeId: 'lamp1', command: 'lamp.set', params, timeoutSeconds: 30 })
      const params = { on: true, level: 12.5, color: 'red', name: 'Ünï \u{1F600} "q"', deep: { on: false } }
      expect(await invoke(params)).toMatchObject({ data: { level: 12.5, on: true } })
      await board.seen('lamp 1 12.50 red Ünï \u{1F600} "q"')
      expect((await admin.next('limb/node/lamp1/data/on')).text).toBe('true')
      await expect(invoke({ on: false, color: 'mauve' })).rejects.toThrow(/lamp1 says: no .*mauve/)
      await expect(invoke({ level: 1 })).rejects.toThrow(/params\.on/)
      expect(board.errors()).toBe('')
    },
    patience(120_000),
  )

  it(
    'is paired still after the bridge was killed, and says why when it may not come in',
    async () => {
      const program = compile()
      await using app = await startApp()
      await using board = power(program, app)
      await approve(app, board)
      await board.seen('online')
      await app.restart()
      await board.seen(/away\s+(problem .*\s+)*online/)
      await using stranger = power(program, app, 'another-key-of-twenty-chars')
      await stranger.seen(/code [A-Z]{8}/)
      expect(stranger.said()).not.toContain('online')
    },
    patience(120_000),
  )

  it(
    'is compiled for an AVR without a warning, by the compiler and the core of Debian',
    (context) => {
      skipWithout(context, 'avr')
      const core = '/usr/share/arduino/hardware/arduino/avr'
      const board = ['-mmcu=atmega2560', '-DF_CPU=16000000L', '-DARDUINO=10819', '-DARDUINO_AVR_MEGA2560']
      const include = [
        `-I${core}/cores/arduino`,
        `-I${core}/variants/mega`,
        '-Itest/makers/avr',
        '-Iarduino/src',
      ]
      const options = ['-std=gnu++11', '-Os', '-Wall', '-Wextra', '-Werror', ...board, ...include]
      const object = join(folder, 'avr.o')
      const avr = (...more: string[]) => execFileSync('avr-g++', [...options, ...more], { cwd: ROOT })
      avr('-c', 'arduino/src/LimbBridge.cpp', '-o', object)
      avr(
        '-x',
        'c++',
        '-include',
        'Arduino.h',
        '-c',
        'arduino/examples/Relay/Relay.ino',
        '-o',
        join(folder, 'relay.o'),
      )
      const [, sizes = ''] = execFileSync('avr-size', [object], { encoding: 'utf8' }).split('\n')
      const [text = 0, data = 0] = sizes.trim().split(/\s+/).map(Number)
      // An Arduino Mega has 256 KiB of flash and 8 KiB of memory.
      expect(text).toBeGreaterThan(1000)
      expect(text).toBeLessThan(16_384)
      expect(data).toBeLessThan(512)
    },
    patience(30_000),
  )

  it('has examples and a keyword list that name what the header has', () => {
    const header = readFileSync(join(ROOT, 'arduino/src/LimbBridge.h'), 'utf8')
    const words = readFileSync(join(ROOT, 'arduino/keywords.txt'), 'utf8').trim().split('\n')
    for (const word of words) expect(header).toContain(word.split('\t')[0])
    for (const name of readdirSync(join(ROOT, 'arduino/examples'))) {
      const text = readFileSync(join(ROOT, 'arduino/examples', name, `${name}.ino`), 'utf8')
      for (const [, method] of text.matchAll(/limb\.(\w+)\(/g))
        expect(header).toMatch(new RegExp(`\\b${method}\\(`))
    }
  })
})
