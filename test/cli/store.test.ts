import { expect, test } from 'vitest'
import type { StoreCopyRequest } from '../../src/cli/context.ts'
import { run } from './run.ts'

const copied = { ok: true, rows: { nodes: 2, audit: 5 }, nodes: 2, audit: { rows: 5, lastSeq: 9 } } as const
const ARGUMENTS = ['store', 'copy', '--from', 'limb.sqlite', '--to', 'postgres://limb@db/limb']

test('`store copy` names both places, and says what was copied', async () => {
  const asked: StoreCopyRequest[] = []
  const copyStore = async (request: StoreCopyRequest) => {
    asked.push(request)
    return { ...copied, secret: 'copied' } as const
  }
  const people = await run(ARGUMENTS, { maintenance: { copyStore } })
  expect(people).toMatchObject({ code: 0, err: '' })
  expect(people.out).toContain('7 rows are copied, of them 2 limbs; the audit log is whole, 5 rows.')
  const { code, out } = await run([...ARGUMENTS, '--config', 'a.yaml', '--json'], {
    maintenance: { copyStore },
  })
  expect([code, JSON.parse(out)]).toEqual([
    0,
    { rows: { nodes: 2, audit: 5 }, nodes: 2, auditRows: 5, lastSeq: 9, secret: 'copied' },
  ])
  const places = { from: 'limb.sqlite', to: 'postgres://limb@db/limb' }
  expect(asked).toEqual([
    { ...places, configFile: undefined },
    { ...places, configFile: 'a.yaml' },
  ])
})

test('`store copy` that is refused says why, and what was left is told', async () => {
  const refused = await run(ARGUMENTS, {
    maintenance: { copyStore: async () => ({ ok: false, reason: 'The target is not empty' }) },
  })
  expect([refused.code, refused.out]).toEqual([1, ''])
  expect(refused.err).toContain('The target is not empty')
  const left = await run(ARGUMENTS, {
    maintenance: { copyStore: async () => ({ ...copied, secret: 'left' }) },
  })
  expect(left.out).toContain('store.secretFile')
  expect((await run(['store', 'copy', '--from', 'x'])).code).toBe(2)
})
