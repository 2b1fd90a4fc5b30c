import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'

/** Real processes: a signal handler is only as good as what the kernel sees. */

const SOURCE = join(import.meta.dirname, '../../../src')
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

const PRELUDE = `
import { handleSignals, ignoreUserSignals } from '${SOURCE}/host/process/signals.ts'
import { createLog } from '${SOURCE}/host/log/log.ts'
import { systemClock } from '${SOURCE}/kernel/clock.ts'
const log = createLog({ level: 'info', format: 'json' })
const run = (stop, more = {}) => handleSignals({ stop, log, clock: systemClock, ...more })
setInterval(() => {}, 1000)
`

async function start(body: string) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PRELUDE + body], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  let output = ''
  const seen = (text: string) =>
    new Promise<void>((resolve) => {
      const look = () => output.includes(text) && resolve()
      child.stdout.on('data', look)
      look()
    })
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk
  })
  const exited = once(child, 'close').then(([code]) => ({ code: code as number, output }))
  return { child, seen, exited }
}

test('SIGTERM stops once and exits 0', async () => {
  const { child, seen, exited } = await start(`run(async () => log.info({}, 'stopped')); log.info({}, 'up')`)
  await seen('"up"')
  child.kill('SIGTERM')
  const { code, output } = await exited
  expect(code).toBe(0)
  expect(output.match(/stopped/g)).toHaveLength(1)
})

test('a stop that hangs is cut off at the limit, with a line in the log', async () => {
  const { child, seen, exited } = await start(
    `run(() => new Promise(() => {}), { limitSeconds: 0.2 }); log.info({}, 'up')`,
  )
  await seen('"up"')
  child.kill('SIGINT')
  const { code, output } = await exited
  expect(code).toBe(1)
  expect(output).toContain('took too long')
})

test('a second signal exits without waiting', async () => {
  const { child, seen, exited } = await start(`run(() => new Promise(() => {})); log.info({}, 'up')`)
  await seen('"up"')
  child.kill('SIGTERM')
  await seen('stopping')
  child.kill('SIGINT')
  const { code, output } = await exited
  expect(code).toBe(1)
  expect(output).toContain('second signal')
})

test('a stop that fails exits 1 and says why', async () => {
  const { child, seen, exited } = await start(
    `run(async () => { throw new Error('disk on fire') }); log.info({}, 'up')`,
  )
  await seen('"up"')
  child.kill('SIGTERM')
  const { code, output } = await exited
  expect(code).toBe(1)
  expect(output).toContain('disk on fire')
})

test.each([
  ['an uncaught exception', `setTimeout(() => { throw new Error('broken invariant') }, 1)`],
  ['an unhandled rejection', `void Promise.reject(new Error('broken invariant'))`],
])('%s is the last line of the log, and exits 70', async (_, body) => {
  const { exited } = await start(`run(async () => {}); ${body}`)
  const { code, output } = await exited
  expect(code).toBe(70)
  expect(JSON.parse(output.trim().split('\n').at(-1) ?? '')).toMatchObject({
    level: 'fatal',
    err: { type: 'Error' },
  })
})

test('SIGUSR1 opens no debugger and SIGUSR2 ends nothing', async () => {
  const { child, seen, exited } = await start(`
    import { url } from 'node:inspector'
    ignoreUserSignals()
    process.on('SIGUSR2', () => log.info({ url: url() ?? null }, 'asked'))
    run(async () => {})
    log.info({}, 'up')`)
  await seen('"up"')
  child.kill('SIGUSR1')
  child.kill('SIGUSR2')
  await seen('"asked"')
  child.kill('SIGUSR1')
  child.kill('SIGUSR2')
  child.kill('SIGTERM')
  const { code, output } = await exited
  expect(code).toBe(0)
  expect(output).toContain('"url":null')
})
