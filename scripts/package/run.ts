import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')

/** Runs a program to its end; its output is ours unless `text` wants it. Throws when it fails. */
export function run(program: string, args: readonly string[], cwd = ROOT): void {
  execFileSync(program, [...args], { cwd, stdio: ['ignore', 'inherit', 'inherit'] })
}

export function textOf(program: string, args: readonly string[], cwd = ROOT): string {
  return execFileSync(program, [...args], {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1e8,
  })
}

/** Seconds since 1970 that stand in the package for every time: the last commit's, so that a build can be repeated. */
export function sourceDate(): number {
  const given = process.env.SOURCE_DATE_EPOCH
  if (given !== undefined && /^\d{1,11}$/.test(given)) return Number(given)
  if (existsSync(join(ROOT, '.git'))) return Number(textOf('git', ['log', '-1', '--format=%ct']))
  throw new Error('not a git work tree: set SOURCE_DATE_EPOCH')
}
