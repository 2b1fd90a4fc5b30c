import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { patience } from '../support/patience.ts'

/** The machine in the box. */

export interface Result {
  readonly status: number
  readonly text: string
}

/** Runs a line of shell; its status and all that it says. */
export function sh(line: string): Result {
  const { status, stdout, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8', input: '' })
  return { status: status ?? 1, text: `${stdout}${stderr}` }
}

/** The same, and it must succeed. */
export function must(line: string): string {
  const { status, text } = sh(line)
  if (status !== 0) throw new Error(`${line}: exit status ${status}\n${text}\n${journal()}`)
  return text
}

/** The same, while this process goes on with something else. */
export async function meanwhile(line: string): Promise<void> {
  await promisify(execFile)('bash', ['-c', line])
}

export const SERVICE = 'limb-bridge.service'

export function show(property: string, unit = SERVICE): string {
  return execFileSync('systemctl', ['show', '--property', property, '--value', unit], {
    encoding: 'utf8',
  }).trim()
}

export function mainPid(): number {
  return Number(show('MainPID'))
}

export function journal(lines = 60): string {
  return sh(`journalctl -u ${SERVICE} --no-pager -o cat -n ${lines}`).text
}

/** What the journal says from now on. */
export function journalFromNow(): () => string {
  const cursor = /-- cursor: (.*)/.exec(sh('journalctl -n 1 --show-cursor').text)?.[1] ?? ''
  return () => sh(`journalctl --after-cursor '${cursor}' -u ${SERVICE} --no-pager -o cat`).text
}

/** Looks again until it holds; systemd tells of most things only when asked. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = patience(20_000),
): Promise<void> {
  const end = performance.now() + ms
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}\n${journal()}`)
    await sleep(50)
  }
}

export async function active(): Promise<void> {
  await until('the service is active', () => show('ActiveState') === 'active')
}

/** Times a call, in milliseconds. */
export async function timed(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}
