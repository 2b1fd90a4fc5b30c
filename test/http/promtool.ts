import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { patience } from '../support/patience.ts'

/** What promtool says, and whether it is content. */
export function promtool(args: readonly string[], input = ''): { ok: boolean; said: string } {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, {
    input,
    encoding: 'utf8',
    timeout: patience(30_000),
  })
  if (error) throw new Error('promtool is missing: apt-get install prometheus', { cause: error })
  return { ok: status === 0, said: `${stdout}${stderr}` }
}

/** The same with a file that has this content, as JSON, which is YAML too. Its path comes last. */
export function promtoolOn(args: readonly string[], content: object): { ok: boolean; said: string } {
  const folder = mkdtempSync(join(tmpdir(), 'limb-promtool-'))
  try {
    const file = join(folder, 'rules.yaml')
    writeFileSync(file, JSON.stringify(content))
    return promtool([...args, file])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const WORDS = new Set([
  'and',
  'or',
  'unless',
  'by',
  'without',
  'on',
  'ignoring',
  'group_left',
  'group_right',
  'bool',
])

/** The metrics that a PromQL expression reads. */
export function metricsIn(expression: string): string[] {
  const bare = expression
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/\{[^}]*\}|\[[^\]]*\]/g, '')
    .replaceAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, '')
  const names = [...bare.matchAll(/[A-Za-z_:][\w:]*(?!\w*\s*\()/g)].map(([name]) => name)
  return [...new Set(names)].filter((name) => !WORDS.has(name))
}

export interface Scraped {
  readonly text: string
  /** Type by name, as `# TYPE` says. */
  readonly types: ReadonlyMap<string, string>
  /** Names that a query may use: those of histograms end with _bucket, _sum and _count. */
  readonly queryable: ReadonlySet<string>
  /** Every series, without its value. */
  readonly series: readonly string[]
}

export function scraped(text: string): Scraped {
  const types = new Map(
    [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  )
  const queryable = [...types].flatMap(([name, type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  )
  const series = [...text.matchAll(/^([A-Za-z_]\w*(?:\{.*\})?) \S+$/gm)].map(([, name = '']) => name)
  return { text, types, queryable: new Set(queryable), series }
}
