import { expect, it } from 'vitest'
import { startApp } from '../../support/app.ts'
import { importFleet } from '../../support/import-fleet.ts'

/** More than one page may look at. */
const LIMBS = 700

it('policy/explain about a whole fleet is done in pages that each look at some of it, and find all', async () => {
  await using app = await startApp({}, { memory: true })
  const admin = await app.admin()
  const name = (i: number) => `n${String(i).padStart(4, '0')}`
  await importFleet(
    (verb, args) => admin.do('admin', verb, args),
    Array.from({ length: LIMBS }, (_, i) => ({
      nodeId: name(i),
      capabilities: i % 7 === 0 ? [] : [{ cap: 'x', commands: ['x.y'], authLevel: 'free' }],
    })),
  )
  await admin.do('admin', 'policy/set', { principal: 'bob', nodeId: '*', capability: '*', level: 'denied' })
  const last = { principal: 'bob', nodeId: name(LIMBS - 1), capability: 'x', level: 'free' }
  await admin.do('admin', 'policy/set', last)
  const found: string[] = []
  let pages = 0
  for (let after: string | undefined; ; pages++) {
    const page = await admin.do('admin', 'policy/explain', { principal: 'bob', after })
    found.push(...page.items.map(({ nodeId }: { nodeId: string }) => nodeId))
    after = page.next
    if (after === undefined) break
    expect(pages).toBeLessThan(LIMBS)
  }
  expect(found).toEqual([name(LIMBS - 1)])
  expect(pages).toBeGreaterThan(0)
})
