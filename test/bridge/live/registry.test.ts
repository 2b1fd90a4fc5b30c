import { describe, expect, it } from 'vitest'
import { type LiveLimb, newLimb, Registry } from '../../../src/bridge/live/registry.ts'
import { provisionedNode } from '../../../src/domain/pairing.ts'
import { newPresence } from '../../../src/domain/presence.ts'
import type { SteadyMs } from '../../../src/kernel/steady-clock.ts'
import { presenceRule } from '../../../src/protocol/presence.ts'
import type { Capability } from '../../../src/protocol/schemas.ts'

const CAMERA: Capability = { cap: 'camera', commands: ['snap'], authLevel: 'free' }
const SAW: Capability = { cap: 'saw', commands: ['cut'], authLevel: 'gated' }
const BOTH = [CAMERA, SAW]

function limbOf(nodeId: string, capabilities: readonly Capability[]): LiveLimb {
  const record = { ...provisionedNode({ nodeId }, 'admin', 0), capabilities }
  return newLimb(
    record,
    newPresence('approved', 0 as SteadyMs, 1000, presenceRule(undefined), undefined),
    undefined,
  )
}

function registryOf(...limbs: readonly LiveLimb[]): Registry {
  const registry = new Registry()
  for (const limb of limbs) registry.add(limb)
  return registry
}

const offering = (registry: Registry, capability: string) =>
  [...registry.offering(capability)].map(({ record }) => record.nodeId).sort()

describe('the limbs that offer a capability', () => {
  it('are found whether they share a list of capabilities or have one of their own', () => {
    const registry = registryOf(
      ...['a', 'b', 'c'].map((nodeId) => limbOf(nodeId, BOTH)),
      limbOf('d', [SAW]),
      limbOf('e', []),
    )
    expect(offering(registry, 'camera')).toEqual(['a', 'b', 'c'])
    expect(offering(registry, 'saw')).toEqual(['a', 'b', 'c', 'd'])
    expect(offering(registry, 'lamp')).toEqual([])
  })

  it.each([
    ['first', 'a', ['b', 'c']],
    ['middle', 'b', ['a', 'c']],
    ['last', 'c', ['a', 'b']],
  ])('are the others when the %s of them is revoked, in any order', (_which, gone, left) => {
    const registry = registryOf(...['a', 'b', 'c'].map((nodeId) => limbOf(nodeId, BOTH)))
    registry.delete(gone)
    expect(offering(registry, 'saw')).toEqual(left)
    for (const nodeId of left) registry.delete(nodeId)
    expect(offering(registry, 'saw')).toEqual([])
    registry.add(limbOf('f', BOTH))
    expect(offering(registry, 'saw')).toEqual(['f'])
  })

  it('change with the capabilities of a limb, and its companions stay', () => {
    const limbs = ['a', 'b', 'c'].map((nodeId) => limbOf(nodeId, BOTH))
    const registry = registryOf(...limbs)
    const [first] = limbs as [LiveLimb]
    registry.replace(first, { ...first.record, capabilities: [CAMERA] })
    expect(offering(registry, 'camera')).toEqual(['a', 'b', 'c'])
    expect(offering(registry, 'saw')).toEqual(['b', 'c'])
    registry.replace(first, { ...first.record, capabilities: BOTH })
    registry.delete('b')
    expect(offering(registry, 'saw')).toEqual(['a', 'c'])
  })
})
