import { expect, test } from 'vitest'
import { seal, unseal } from '../../src/kernel/sealing.ts'

const secret = 's'.repeat(40)
const bytes = Buffer.from('a secret of the bridge')

test('what was sealed comes back under the same secret and name', () => {
  expect(unseal(secret, 'one', seal(secret, 'one', bytes))).toEqual(bytes)
  expect(Buffer.from(seal(secret, 'one', bytes)).includes('secret')).toBe(false)
})

test('no two sealings of the same are alike', () => {
  expect(seal(secret, 'one', bytes)).not.toEqual(seal(secret, 'one', bytes))
})

test('nothing comes back under another secret or name, or when a byte was changed', () => {
  const sealed = seal(secret, 'one', bytes)
  expect(unseal(`${secret}x`, 'one', sealed)).toBeUndefined()
  expect(unseal(secret, 'two', sealed)).toBeUndefined()
  for (const at of [0, 1, 20, 40, sealed.length - 1]) {
    const changed = Uint8Array.from(sealed)
    changed[at] = (changed[at] ?? 0) ^ 1
    expect(unseal(secret, 'one', changed)).toBeUndefined()
  }
  expect(unseal(secret, 'one', sealed.subarray(0, 10))).toBeUndefined()
})
