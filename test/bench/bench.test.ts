import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, it } from 'vitest'
import { lacking } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { type Line, median, table, verdict } from './line.ts'
import { mosquittoPath } from './peers.ts'

const hasCompiler = () => spawnSync('cc', ['--version']).status === 0

const folder = mkdtempSync(join(tmpdir(), 'limb-bench-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

// Nothing here looks at a time: on a busy machine every number may be anything.
it(
  'runs every part of the benchmark and writes each line in text and JSON',
  async () => {
    const json = join(folder, 'bench.json')
    const main = resolve(import.meta.dirname, 'main.ts')
    const { stdout } = await promisify(execFile)(process.execPath, [main, '--quick', '--json', json])
    const result = JSON.parse(readFileSync(json, 'utf8')) as { machine: object; lines: Line[] }

    expect(result.machine).toMatchObject({ node: process.version, tickMs: 10 })
    const heartbeats = mosquittoPath() === undefined ? 2 : 6
    // Of each of four ways and of CONNECT: MQTT 5, Aedes, Mosquitto; of heartbeats: MQTT 5, and the echo in Node, and in C.
    const messages = 5 * (mosquittoPath() === undefined ? 2 : 3) + (hasCompiler() ? 3 : 2)
    const stores = lacking('postgresql') === undefined ? 3 : 0
    expect(result.lines).toHaveLength(heartbeats + messages + 4 + 3 + 1 + 3 + 3 + 4 + 3 + stores)
    for (const line of result.lines) {
      expect(line.bridge, line.name).toEqual(expect.any(Number))
      expect(stdout).toContain(`| ${line.name} `)
    }
  },
  patience(120_000),
)

it('takes the middle value, or the mean of the two in the middle', () => {
  expect(median([5, 1, 3])).toBe(3)
  expect(median([4, 1, 3, 2])).toBe(2.5)
})

it('holds the ratio to the goal where there is a peer, else the value', () => {
  const line: Line = { name: 'x', unit: 'ms', bridge: 10, goal: 5 }
  expect(verdict(line)).toBe('missed')
  expect(verdict({ ...line, goal: 10 })).toBe('met')
  expect(verdict({ ...line, ratio: 2, peer: { name: 'y', value: 5 } })).toBe('met')
  expect(verdict({ name: 'x', unit: 'ms', bridge: 10 })).toBe('')
})

it('prints lines of equal width', () => {
  const lines = table([
    { name: 'short', unit: 'ms', bridge: 1 },
    { name: 'a longer one', unit: 'ms', bridge: 1234.5, goal: 5000, note: 'why' },
  ]).split('\n')
  expect(new Set(lines.map((line) => line.length)).size).toBe(1)
  expect(lines.at(-1)).toContain('| ≤ 5000 ms | met |')
})
