import { describe, expect, test } from 'vitest'
import { readinessOf, type Vitals } from '../../src/http/readiness.ts'
import { startApp } from '../support/app.ts'

const well: Vitals = {
  phase: 'running',
  database: { ok: true },
  diskFreeBytes: 1e9,
  connections: 3,
  maxConnections: 10,
}

describe('a bridge is ready', () => {
  test('when nothing is wrong, with a database in memory too', () => {
    expect(readinessOf(well)).toEqual({ ready: true, reasons: [] })
    expect(readinessOf({ ...well, diskFreeBytes: undefined }).ready).toBe(true)
  })

  test.each<[string, Partial<Vitals>, RegExp]>([
    ['not before its listeners are open', { phase: 'starting' }, /^broker: it is starting$/],
    ['not while it stops', { phase: 'stopping' }, /^broker: it is stopping$/],
    [
      'not while every connection is taken',
      { connections: 10 },
      /^broker: all 10 connections .*mqtt\.maxConnections/,
    ],
    [
      'not while the database cannot store',
      { database: { ok: false, reason: 'disk I/O error' } },
      /^database: disk I\/O/,
    ],
    ['not on a full disk', { diskFreeBytes: 10_240 }, /^disk: 10 KiB are left for the database; make room$/],
  ])('%s', (_, change, reason) => {
    const { ready, reasons } = readinessOf({ ...well, ...change })
    expect(ready).toBe(false)
    expect(reasons).toEqual([expect.stringMatching(reason)])
  })

  test('and tells every reason at once', () => {
    const { reasons } = readinessOf({ ...well, phase: 'stopping', diskFreeBytes: 0, connections: 11 })
    expect(reasons.map((reason) => reason.split(':')[0])).toEqual(['broker', 'broker', 'disk'])
  })
})

test('a running bridge says so over HTTP, and that it is full when it is', async () => {
  await using app = await startApp(
    { http: { enabled: true, port: 0 }, mqtt: { port: 0, maxConnections: 2 } },
    { memory: true },
  )
  const ask = async () => {
    const response = await fetch(`http://127.0.0.1:${app.bridge.http?.port}/readyz`)
    return { status: response.status, ...((await response.json()) as object) }
  }
  expect(await ask()).toEqual({ status: 200, ready: true, reasons: [] })
  const first = await app.admin()
  await app.admin()
  expect(await ask()).toMatchObject({
    status: 503,
    reasons: ['broker: all 2 connections (mqtt.maxConnections) are taken'],
  })
  await first.end()
  await expect.poll(ask).toEqual({ status: 200, ready: true, reasons: [] })
})
