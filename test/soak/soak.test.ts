import { expect, test } from 'vitest'
import { patience } from '../support/patience.ts'
import { growth, soak } from './soak.ts'

/** The short form; `npm run test:soak -- --minutes 30` is the long one. */
const SECONDS = 120
const LIMBS = 6

test('limbs that come and go all the time leave no memory, file descriptor, timer or row behind', {
  timeout: patience(400_000),
}, async () => {
  const report = await soak({ minutes: SECONDS / 60, limbs: LIMBS, samples: 3 })
  expect(growth(report, LIMBS), JSON.stringify(report, null, 1)).toEqual([])
  expect(report.tally.lives).toBeGreaterThan(LIMBS)
  expect(report.trouble).toEqual([])
})
