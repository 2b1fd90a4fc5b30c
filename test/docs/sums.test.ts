import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LEAVES } from '../../src/host/config/leaves.ts'
import { createMetrics } from '../../src/http/metrics.ts'

/** The table of sums in docs/security.md: its settings and metrics are those of the code. */

const page = readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8')
const section = page.slice(page.indexOf('### Sums'), page.indexOf('## Attacks on pairing'))
const rows = section
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (kind|---)/.test(line))
  .map((line) => line.split(' | '))

test('every setting of the table of sums is one of the configuration', () => {
  const known = LEAVES.map(({ path }) => path)
  const named = [
    ...section.matchAll(/`((?:mqtt|pairing|presence|invocation|retention|backup|store|http|lease)\.\w+)`/g),
  ].map(([, name]) => name)
  expect(named.length).toBeGreaterThan(15)
  expect(named.filter((name) => !known.includes(name ?? ''))).toEqual([])
})

test('every row of the table of sums has a metric, and it exists', () => {
  const known = createMetrics({ version: '', collect: () => ({}) })
    .describe()
    .map(({ name }) => name)
  const metricOf = (row: readonly string[]) => /`(limb_\w+)`/.exec(row.at(-1) ?? '')?.[1]
  expect(rows.length).toBeGreaterThan(12)
  expect(rows.filter((row) => !known.includes(metricOf(row) ?? '')).map(([kind]) => kind)).toEqual([])
})
