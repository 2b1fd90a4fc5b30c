import { describe, expect, it } from 'vitest'
import { startApp } from '../support/app.ts'
import { spoken } from '../support/spoken.ts'

/** What is tried in MQTT 3.1.1 is tried in MQTT 5 too. */

spoken.version = 5

describe('in MQTT 5, names', async () => {
  await import('./names.test.ts')
})

describe('in MQTT 5, pairing', async () => {
  await import('./pairing.test.ts')
})

describe('in MQTT 5, the process', async () => {
  await import('./process.test.ts')
})

it('the clients of these suites do speak MQTT 5', async () => {
  await using app = await startApp()
  const device = await app.device('cam1', 'a-key-of-some-length')
  expect(device.mqtt.options.protocolVersion).toBe(5)
  await device.publish('elsewhere')
  expect(app.logLines.filter(({ msg }) => String(msg).includes('denied'))).toMatchObject([{ version: '5' }])
})
