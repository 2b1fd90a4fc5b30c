import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { patience } from '../../support/patience.ts'

/** Standard output that nobody reads: the process goes on, and says afterwards what was lost. */

const LOG = new URL('../../../src/host/log/log.ts', import.meta.url).href
/** More than a pipe holds and the log keeps; then it waits for a word on standard input, if there is one. */
const CHATTY = `
  import { createLog } from ${JSON.stringify(LOG)}
  const log = createLog({ level: 'info', format: 'json' })
  for (let i = 0; i < 3000; i++) log.info({ i }, 'x'.repeat(1000))
  process.stderr.write('goes on ' + (log.droppedLines > 0))
  process.stdin.once('data', () => process.exit(0))`
const RUN = ['--input-type=module', '-e', CHATTY]

interface Line {
  readonly i?: number
  readonly lines?: number
}

/** Every line is whole, and those that are missing are told. */
function expectCounted(output: string): void {
  const lines = output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
  const kept = lines.filter(({ i }) => i !== undefined).map(({ i }) => i)
  expect(kept).toEqual(kept.map((_, index) => index))
  const told = lines.reduce((sum, line) => sum + (line.lines ?? 0), 0)
  expect(told).toBeGreaterThan(0)
  expect(kept.length + told).toBe(3000)
}

test('a socket that nobody reads, as a stuck journal is, loses lines and does not hold the process', async () => {
  const child = spawn(process.execPath, RUN, { stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  await new Promise<void>((done) =>
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk
      if (said.includes('goes on')) done()
    }),
  )
  expect(said).toBe('goes on true')
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk
    if (/"lines":\d+.*\n/.test(output)) child.stdin.write('\n')
  })
  await new Promise((done) => child.on('close', done))
  expectCounted(output)
})

test('a pipe that is read late loses lines and does not hold the process', () => {
  const folder = mkdtempSync(join(tmpdir(), 'limb-output-'))
  const file = join(folder, 'lines')
  // The reader begins when the writer has said on standard error that it goes on.
  const script = `mkfifo "$1/said" "$1/word"; exec 8<>"$1/word"
    ( "$2" ${RUN.map((_, index) => `"$${index + 3}"`).join(' ')} 2>"$1/said" <"$1/word" ) | {
      read -r -N 7 said <"$1/said"
      tee "$1/lines" | { grep -m1 -q '"lines":'; echo >&8; cat >"$1/rest"; }; }`
  try {
    const { status } = spawnSync('bash', ['-c', script, 'bash', folder, process.execPath, ...RUN], {
      timeout: patience(15_000),
    })
    expect(status).toBe(0)
    expectCounted(readFileSync(file, 'utf8'))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a reader that has gone holds nothing up, and what it would have read is counted', () => {
  const script = '("$0" "$@" 2>&3 </dev/null | true) 3>&1'
  const { stdout, status } = spawnSync('bash', ['-c', script, process.execPath, ...RUN], { encoding: 'utf8' })
  expect({ stdout, status }).toEqual({ stdout: 'goes on true', status: 0 })
})

test('an error, and what was said before it, is written at once: the process may be killed in that turn', () => {
  const killed = `
    import { createLog } from ${JSON.stringify(LOG)}
    const log = createLog({ level: 'info', format: 'json' })
    log.info({}, 'before')
    log.error({}, 'an error')
    log.info({}, 'behind')
    process.kill(process.pid, 'SIGKILL')`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', killed], { encoding: 'utf8' })
  const said = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).msg)
  expect(said).toEqual(['before', 'an error'])
})
