import { expect, test } from 'vitest'
import { differenceOf } from '../../src/domain/widening.ts'
import type { AuthLevel } from '../../src/protocol/names.ts'
import type { Capability, Registration } from '../../src/protocol/schemas.ts'

const cap = (name: string, commands: string[], authLevel: AuthLevel): Capability => ({
  cap: name,
  commands,
  authLevel,
})
const loosened = (approved: Capability[], asked: Capability[]) =>
  differenceOf(approved, { capabilities: asked } as unknown as Registration).loosens

test('a command that moves to a freer capability is told as one that loosens', () => {
  const approved = [cap('saw', ['saw.cut'], 'gated')]
  expect(loosened(approved, [cap('tools', ['saw.cut', 'tools.list'], 'free')])).toEqual([
    { capability: 'tools', from: 'gated', to: 'free' },
  ])
})

test('a command in a second capability is no freer than its strictest one', () => {
  const approved = [cap('saw', ['saw.cut'], 'gated')]
  expect(loosened(approved, [...approved, cap('tools', ['saw.cut'], 'free')])).toEqual([])
  expect(loosened(approved, [cap('tools', ['saw.cut'], 'denied')])).toEqual([])
  expect(loosened(approved, [...approved, cap('lamp', ['lamp.on'], 'free')])).toEqual([])
})

test('several commands that move are told by the strictest level that they leave', () => {
  const approved = [cap('saw', ['saw.cut'], 'gated'), cap('arm', ['arm.move'], 'leased')]
  expect(loosened(approved, [cap('all', ['arm.move', 'saw.cut'], 'free')])).toEqual([
    { capability: 'all', from: 'gated', to: 'free' },
  ])
})
