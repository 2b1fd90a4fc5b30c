import { expect, test } from 'vitest'
import { createLog } from '../../../src/host/log/log.ts'

test('of the newest lines a bounded number is kept, and none that is too long', () => {
  const log = createLog({ level: 'info', format: 'json', terminal: false, write: () => undefined })
  for (let nr = 0; nr < 2000; nr++) log.info({ nr }, 'a line')
  log.info({ text: 'x'.repeat(3000) }, 'a long line')
  const recent = log.recent()
  expect(recent.length).toBeGreaterThanOrEqual(500)
  expect(recent.length).toBeLessThanOrEqual(625)
  expect(recent.at(-1)).toMatchObject({ nr: 1999 })
})
