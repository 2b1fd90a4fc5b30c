import { expect, test } from 'vitest'
import { Teardown } from '../../src/kernel/teardown.ts'

test('what was constructed last is taken down first, each after the one before it has ended', async () => {
  const teardown = new Teardown()
  const ended: string[] = []
  for (const name of ['database', 'broker', 'listener']) {
    teardown.add(async () => {
      await Promise.resolve()
      ended.push(name)
    })
  }
  await teardown.run()
  expect(ended).toEqual(['listener', 'broker', 'database'])
})

test('a step that fails keeps none of the others from running, and the first failure is told', async () => {
  const teardown = new Teardown()
  const ended: string[] = []
  teardown.add(() => {
    ended.push('database')
    throw new Error('the second one')
  })
  teardown.add(() => {
    throw new Error('the first one')
  })
  await expect(teardown.run()).rejects.toThrow('the first one')
  expect(ended).toEqual(['database'])
})

test('what was taken down is not taken down again', async () => {
  const teardown = new Teardown()
  let runs = 0
  teardown.add(() => {
    runs++
  })
  await teardown.run()
  await teardown.run()
  expect(runs).toBe(1)
})
