import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const HERE = import.meta.dirname
const page = readFileSync(resolve(HERE, '../../docs/conformance.md'), 'utf8')
const tests = readdirSync(HERE).filter((name) => name.endsWith('.ts'))

/** Those between the ends of a range too. */
function clausesOfPage(): Set<string> {
  const found = new Set(page.match(/MQTT-\d+\.\d+\.\d+-\d+/g))
  for (const [, section, from, end] of page.matchAll(/\[(MQTT-[\d.]+)-(\d+)\] to \[\1-(\d+)\]/g)) {
    for (let n = Number(from); n <= Number(end); n++) found.add(`${section}-${n}`)
  }
  return found
}

test('docs/conformance.md states every clause that is tested here', () => {
  const stated = clausesOfPage()
  const named = tests.flatMap(
    (name) => readFileSync(join(HERE, name), 'utf8').match(/MQTT-\d+\.\d+\.\d+-\d+/g) ?? [],
  )
  expect(named.length).toBeGreaterThan(50)
  expect([...new Set(named)].filter((clause) => !stated.has(clause))).toEqual([])
})

test('and names only tests that are there', () => {
  const rows = page.split('\n').filter((line) => line.startsWith('| [MQTT-'))
  const short = rows.flatMap((row) =>
    [...(row.split('|').at(-2) ?? '').matchAll(/`(\w+)`/g)].map((match) => match[1]),
  )
  expect(short.length).toBeGreaterThan(30)
  expect(short.filter((name) => !tests.includes(`${name}.test.ts`))).toEqual([])
})
