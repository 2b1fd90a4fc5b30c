import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

/** The house's rules are tests: rows of imports, one clock, no global settings. */

const SRC = resolve(import.meta.dirname, '../src')

const ROWS: Record<string, number> = {
  kernel: 0,
  protocol: 1,
  domain: 2,
  // No code of the bridge in a limb: the same row as the domain, so that it may import only the protocol.
  client: 2,
  bridge: 3,
  store: 4,
  broker: 4,
  http: 4,
  uplink: 4,
  homeassistant: 4,
  host: 4,
  // It serves main.ts, not the core, and shows what the host found.
  cli: 5,
  assembly: 5,
  'app.ts': 6,
  'serve.ts': 7,
  'main.ts': 8,
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
const source = (file: string) => readFileSync(join(SRC, file), 'utf8')
const placeOf = (file: string) => file.split('/')[0] as string

function importsOf(file: string): string[] {
  const found = source(file).matchAll(
    /^\s*(?:import|export)\b[^'"]*?from\s+['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)|^import\s+['"]([^'"]+)['"]/gm,
  )
  return [...found].map((match) => match[1] ?? match[2] ?? match[3] ?? '')
}

describe('the house', () => {
  it('has a row for every folder and file of src', () => {
    expect([...new Set(files.map(placeOf))].filter((place) => ROWS[place] === undefined)).toEqual([])
  })

  it('lets imports point only to lower rows, and never between folders of one row', () => {
    const wrong: string[] = []
    for (const file of files) {
      for (const target of importsOf(file).filter((name) => name.startsWith('.'))) {
        const place = placeOf(relative(SRC, resolve(SRC, dirname(file), target)))
        const from = ROWS[placeOf(file)] ?? -1
        const to = ROWS[place] ?? Number.NaN
        if (place !== placeOf(file) && !(to < from)) wrong.push(`${file} imports ${target}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('keeps Node out of the protocol, so that browsers and devices share it', () => {
    const wrong = files
      .filter((file) => placeOf(file) === 'protocol')
      .filter((file) =>
        importsOf(file).some((name) => name.startsWith('node:') || name.endsWith('/secrets.ts')),
      )
    expect(wrong).toEqual([])
  })

  it.each([
    ['aedes', 'broker'],
    ['better-sqlite3', 'store'],
    ['fastify', 'http'],
    ['commander', 'cli'],
    ['@modelcontextprotocol/server', 'cli'],
  ])('keeps %s in %s', (library, place) => {
    const users = files.filter((file) =>
      importsOf(file).some(
        (name) => name === library || name.startsWith(`${library}-`) || name.startsWith(`${library}/`),
      ),
    )
    expect([...new Set(users.map(placeOf))].filter((user) => user !== place)).toEqual([])
  })

  it('reads a clock in kernel/clock.ts alone', () => {
    const clock = /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b/
    expect(files.filter((file) => file !== 'kernel/clock.ts' && clock.test(source(file)))).toEqual([])
  })

  it('spells topics in protocol/topics.ts alone', () => {
    const topic = /['"`](?:limb\/|[^'"`\n]*\/(?:bridge|node|principal)\/)/
    const spelled = files.filter(
      (file) =>
        file !== 'protocol/topics.ts' &&
        !file.startsWith('cli/') &&
        source(file)
          .split('\n')
          .some((line) => !/^\s*(?:\*|\/\/|\/\*)/.test(line) && !/from '/.test(line) && topic.test(line)),
    )
    expect(spelled).toEqual([])
  })
})
