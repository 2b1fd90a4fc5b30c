import { expect, test } from 'vitest'
import { type Config, resolveConfig } from '../../../src/host/config/config.ts'
import { LEAVES } from '../../../src/host/config/leaves.ts'
import { changeOf } from '../../../src/host/config/live-settings.ts'
import { createLog } from '../../../src/host/log/log.ts'
import { reloader } from '../../../src/host/process/reload.ts'
import { serviceManager } from '../../../src/host/systemd/notify.ts'
import { systemClock } from '../../../src/kernel/clock.ts'

function loaded(values: Record<string, unknown>) {
  return resolveConfig({ name: 'test', values, lineOf: () => undefined }, {})
}

test('what listeners and files are made from waits for a restart', () => {
  const made =
    /^(tls|control|homeAssistant|policy)\.|^store\.path$|^(mqtt|http)\.(host|port|tls|enabled)$|^mqtt\.(topicRoot|allowPlaintext)$/
  expect(LEAVES.filter(({ live, path }) => live && made.test(path)).map(({ path }) => path)).toEqual([])
  expect(LEAVES.filter(({ path }) => made.test(path)).length).toBeGreaterThan(20)
})

test('every number of mqtt that is no port is live', () => {
  const numbers = LEAVES.filter(
    ({ section, type, key }) => section === 'mqtt' && type === 'integer' && key !== 'port',
  )
  expect(numbers.filter(({ live }) => !live).map(({ path }) => path)).toEqual([])
})

test('a change holds where it is live, and is named where it is not', () => {
  const { config } = loaded({})
  const { config: next } = loaded({
    log: { level: 'debug' },
    mqtt: { port: 1884, maxConnections: 7, grants: [{ to: 'x', publish: ['x/#'] }] },
    http: { allowedOrigins: ['https://dash.example'] },
    uplinks: [{ name: 'cloud', url: 'mqtt://127.0.0.1', prefix: 'site1' }],
  })
  const change = changeOf(config, next)
  expect([...change.live].sort()).toEqual([
    'http.allowedOrigins',
    'log.level',
    'mqtt.grants',
    'mqtt.maxConnections',
  ])
  expect([...change.restart].sort()).toEqual(['mqtt.port', 'uplinks'])
  expect(change.config.mqtt).toMatchObject({ port: 1883, maxConnections: 7, grants: [{ to: 'x' }] })
  expect(config.mqtt.maxConnections).toBe(20_000)
})

function harness(load: () => ReturnType<typeof loaded>) {
  const lines: Record<string, unknown>[] = []
  const log = createLog({ level: 'info', format: 'json', write: (line) => lines.push(JSON.parse(line)) })
  const applied: Config[] = []
  const told: string[] = []
  const helper = {
    send: async (assignments: readonly string[]) => {
      told.push(assignments[0] ?? '')
    },
    close() {},
  }
  const manager = serviceManager({ env: { NOTIFY_SOCKET: 'x' }, log, clock: systemClock, helper })
  const { reload } = reloader({
    config: loaded({}).config,
    load,
    apply: (config) => {
      applied.push(config)
    },
    manager,
    status: () => 'fine',
    log,
  })
  return { reload, applied, told, messages: () => lines.map(({ msg }) => msg) }
}

test('a reload tells the service manager, applies, and warns again while a restart is due', async () => {
  const { reload, applied, told, messages } = harness(() => loaded({ mqtt: { port: 1884, maxRetained: 5 } }))
  await reload()
  await reload()
  expect(told).toEqual(['RELOADING=1', 'READY=1', 'RELOADING=1', 'READY=1'])
  expect(applied.map(({ mqtt }) => [mqtt.port, mqtt.maxRetained])).toEqual([
    [1883, 5],
    [1883, 5],
  ])
  expect(messages()).toEqual([
    'reloaded',
    'these settings need a restart: mqtt.port',
    'reloaded; no live setting changed',
    'these settings need a restart: mqtt.port',
  ])
})

test('a file with mistakes changes nothing and ends the reload all the same', async () => {
  const { reload, applied, told, messages } = harness(() => loaded({ mqtt: { port: -1 } }))
  await reload()
  expect(applied).toEqual([])
  expect(told).toEqual(['RELOADING=1', 'READY=1'])
  expect(messages()).toEqual([
    expect.stringContaining('mqtt.port'),
    'nothing was reloaded: the configuration has mistakes; what held before still holds',
  ])
})

test('many signals at once are two reloads', async () => {
  let loads = 0
  const { reload } = harness(() => {
    loads++
    return loaded({})
  })
  await Promise.all(Array.from({ length: 50 }, reload))
  expect(loads).toBe(2)
})
