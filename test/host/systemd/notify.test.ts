import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { Log } from '../../../src/bridge/ports.ts'
import { serviceManager } from '../../../src/host/systemd/notify.ts'
import { type NotifyHelper, notifyHelper } from '../../../src/host/systemd/notify-helper.ts'
import { type Clock, systemClock } from '../../../src/kernel/clock.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

function listening() {
  const warnings: string[] = []
  const log: Log = { debug() {}, info() {}, warn: (_, message) => warnings.push(message), error() {} }
  return { log, warnings }
}

/** Keeps what it is sent, and answers when it is told to. */
function slowHelper() {
  const sent: (readonly string[])[] = []
  const waiting: { resolve: () => void; reject: (error: Error) => void }[] = []
  const helper: NotifyHelper = {
    send(assignments) {
      sent.push(assignments)
      return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
    },
    close() {},
  }
  return {
    helper,
    sent,
    answer: () => waiting.shift()?.resolve(),
    fail: () => waiting.shift()?.reject(new Error('no')),
  }
}

function manager(helper: NotifyHelper) {
  const { log, warnings } = listening()
  const env = { NOTIFY_SOCKET: '/run/systemd/notify' }
  return { service: serviceManager({ env, log, clock: systemClock, helper }), warnings }
}

test('is silent without a service manager', async () => {
  const { log } = listening()
  const service = serviceManager({ env: {}, log, clock: systemClock })
  expect(service.present).toBe(false)
  await service.ready('up')
})

test('sends changes of state in their order, and only the newest status', async () => {
  const { helper, sent, answer } = slowHelper()
  const { service } = manager(helper)
  const all = [
    service.ready('1 limb'),
    service.reloading(),
    service.status('2 limbs'),
    service.alive('3 limbs'),
    service.ready('4 limbs'),
  ]
  for (let i = 0; i < 3; i++) {
    answer()
    await new Promise(setImmediate)
  }
  await Promise.all(all)
  expect(sent[0]).toEqual(['READY=1', 'STATUS=1 limb'])
  expect(sent[1]).toEqual([
    'RELOADING=1',
    expect.stringMatching(/^MONOTONIC_USEC=\d+$/),
    'STATUS=3 limbs',
    'WATCHDOG=1',
  ])
  expect(sent[2]).toEqual(['READY=1', 'STATUS=4 limbs'])
})

test('keeps a bounded number of messages for a manager that does not answer', async () => {
  const { helper, sent } = slowHelper()
  const { service, warnings } = manager(helper)
  for (let i = 0; i < 100; i++) void service.reloading()
  expect(sent).toHaveLength(1)
  expect(warnings).toHaveLength(100 - 1 - 16)
})

test('goes on after a failure, and complains once for each outage', async () => {
  const { helper, answer, fail } = slowHelper()
  const { service, warnings } = manager(helper)
  for (const outcome of [fail, fail, answer, fail]) {
    const told = service.status('x')
    outcome()
    await told
  }
  expect(warnings).toHaveLength(2)
})

test('lets no status smuggle in an assignment', async () => {
  const { helper, sent, answer } = slowHelper()
  const { service } = manager(helper)
  const told = service.status('fine\nMAINPID=1')
  answer()
  await told
  expect(sent).toEqual([['STATUS=fine MAINPID=1']])
})

/** A folder whose `systemd-notify` writes down how it was called, then does as told. */
function recorder(afterwards: string) {
  const folder = mkdtempSync(join(tmpdir(), 'limb-notify-'))
  const file = join(folder, 'calls')
  writeFileSync(
    join(folder, 'systemd-notify'),
    `#!/bin/sh\nfor a in "$@"; do printf '%s|%s\\n' "$NOTIFY_SOCKET" "$a" >>${file}; done\n${afterwards}\n`,
  )
  chmodSync(join(folder, 'systemd-notify'), 0o755)
  // A busy machine may take its time to start a shell.
  const helper = (clock: Clock = new FakeClock()) => {
    const made = notifyHelper('/run/test-notify', `${folder}:/usr/bin:/bin`, clock)
    cleanups.push(made.close)
    return made
  }
  cleanups.push(() => rmSync(folder, { recursive: true }))
  return { helper, calls: () => readFileSync(file, 'utf8').trim().split('\n') }
}

test('hands each assignment to systemd-notify as one argument, whatever is in it', async () => {
  const { helper, calls } = recorder('')
  const notify = helper()
  await notify.send(['READY=1', 'STATUS=$(id) `id` "two  words" \\n *'])
  await notify.send(['WATCHDOG=1'])
  expect(calls()).toEqual([
    '/run/test-notify|READY=1',
    '/run/test-notify|STATUS=$(id) `id` "two  words" \\n *',
    '/run/test-notify|WATCHDOG=1',
  ])
})

test('says when systemd-notify fails, and starts anew for the next message', async () => {
  const { helper, calls } = recorder('exit 3')
  const notify = helper()
  await expect(notify.send(['A=1'])).rejects.toThrow('ended with 3')
  await expect(notify.send(['B=1'])).rejects.toThrow('ended with 3')
  expect(calls()).toHaveLength(2)
})

test('starts anew when its shell was killed, without losing a message', async () => {
  const { helper, calls } = recorder('[ "$1" != A=1 ] || kill -9 $PPID')
  const notify = helper()
  await expect(notify.send(['A=1'])).rejects.toThrow('no answer')
  await notify.send(['B=1'])
  expect(calls()).toHaveLength(2)
})

test('waits no longer than its limit for an answer', async () => {
  const { helper } = recorder('exec sleep 60')
  const clock = new FakeClock()
  const told = helper(clock).send(['A=1'])
  clock.advance(3000)
  await expect(told).rejects.toThrow('no answer')
})
