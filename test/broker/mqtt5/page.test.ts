import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../../..')
const page = readFileSync(join(ROOT, 'docs/conformance-mqtt5.md'), 'utf8')

/** The number of the last statement of each section, as in appendix B of the standard; section 2.2.1 begins with 2. */
const SECTIONS: Readonly<Record<string, number>> = {
  ...{ '1.5.4': 3, '1.5.5': 1, '1.5.7': 1, '2.1.3': 1, '2.2.1': 6, '2.2.2': 1 },
  ...{ '3.1.0': 2, '3.1.2': 30, '3.1.3': 12, '3.1.4': 6, '3.2.0': 2, '3.2.2': 22 },
  ...{ '3.3.1': 13, '3.3.2': 20, '3.3.4': 10, '3.4.2': 3, '3.5.2': 3, '3.6.1': 1, '3.6.2': 3, '3.7.2': 3 },
  ...{ '3.8.1': 1, '3.8.3': 5, '3.8.4': 8, '3.9.2': 2, '3.9.3': 2, '3.10.1': 1, '3.10.3': 2, '3.10.4': 6 },
  ...{ '3.11.2': 2, '3.11.3': 2, '3.12.4': 1, '3.14.0': 1, '3.14.1': 1, '3.14.2': 4, '3.14.4': 3 },
  ...{ '3.15.1': 1, '3.15.2': 3, '4.1.0': 2, '4.2.0': 1, '4.3.1': 1, '4.3.2': 5, '4.3.3': 13, '4.4.0': 2 },
  ...{ '4.5.0': 2, '4.6.0': 6, '4.7.0': 1, '4.7.1': 2, '4.7.2': 1, '4.7.3': 4, '4.8.2': 6, '4.9.0': 3 },
  ...{ '4.12.0': 7, '4.12.1': 2, '4.13.1': 1, '4.13.2': 1, '6.0.0': 4 },
}

function statements(): string[] {
  return Object.entries(SECTIONS)
    .flatMap(([section, last]) => Array.from({ length: last }, (_, i) => `MQTT-${section}-${i + 1}`))
    .filter((statement) => statement !== 'MQTT-2.2.1-1')
}

/** Those between the ends of a range too. */
function named(text: string): string[] {
  const found: string[] = text.match(/MQTT-\d+\.\d+\.\d+-\d+/g) ?? []
  for (const [, section, from, end] of text.matchAll(/\[(MQTT-[\d.]+)-(\d+)\] to \[\1-(\d+)\]/g)) {
    for (let n = Number(from); n <= Number(end); n++) found.push(`${section}-${n}`)
  }
  return found
}

test('docs/conformance-mqtt5.md has a row for every statement of the standard, and for nothing else', () => {
  const all = statements()
  expect(all).toHaveLength(251)
  const rows = new Set(named(page))
  expect(all.filter((statement) => !rows.has(statement))).toEqual([])
  expect([...rows].filter((statement) => !all.includes(statement))).toEqual([])
})

test('and names only tests that are there', () => {
  const cells = page.split('\n').filter((line) => /^\| \[MQTT-.*\|.*\|.*\|.*\|$/.test(line))
  const tests = cells.flatMap((row) =>
    [...(row.split('|').at(-2) ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''),
  )
  expect(tests.length).toBeGreaterThan(60)
  const file = (name: string) => (name.includes('/') ? name : `test/broker/mqtt5/${name}.test.ts`)
  const isWhy = (name: string) => name.startsWith('mqtt.')
  expect(tests.filter((name) => !isWhy(name) && !existsSync(join(ROOT, file(name))))).toEqual([])
})
