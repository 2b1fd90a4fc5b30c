import { expect, test } from 'vitest'
import { LimbTroubles } from '../../../src/bridge/live/limb-troubles.ts'
import { FakeClock } from '../../support/fake-clock.ts'

function watched() {
  const clock = new FakeClock()
  const limbs = new Set(['cam1', 'cam2'])
  const troubles = new LimbTroubles(clock, (nodeId) => limbs.has(nodeId) || nodeId.startsWith('many-'))
  const tell = (kind: string, nodeId: string) => troubles.event(kind, clock.wallMs(), { nodeId })
  const names = () => troubles.lately().map(({ kind, nodeId }) => `${kind} ${nodeId}`)
  return { clock, limbs, troubles, tell, names }
}

test('troubles of limbs are those that an event of the last ten minutes told, the newest first', () => {
  const { clock, tell, names } = watched()
  tell('node_flapping', 'cam1')
  tell('node_renamed', 'cam1')
  tell('limb_replaced', 'cam1')
  clock.advance(300_000)
  tell('heartbeat_invalid', 'cam2')
  tell('node_flapping', 'cam1')
  expect(names()).toEqual(['node_flapping cam1', 'heartbeat_invalid cam2', 'limb_replaced cam1'])
  // A wall clock that was set says nothing about how long ago that was.
  clock.jumpWall(86_400_000)
  clock.advance(300_001)
  expect(names()).toEqual(['node_flapping cam1', 'heartbeat_invalid cam2'])
  clock.advance(300_000)
  expect(names()).toEqual([])
})

test('troubles of a limb end with it', () => {
  const { limbs, tell, names } = watched()
  tell('node_flapping', 'cam1')
  tell('node_flapping', 'cam2')
  limbs.delete('cam1')
  expect(names()).toEqual(['node_flapping cam2'])
})

test('a hundred troubles are kept, the newest', () => {
  const { tell, troubles } = watched()
  for (let i = 0; i < 150; i++) tell('node_flapping', `many-${i}`)
  const kept = troubles.lately().map(({ nodeId }) => nodeId)
  expect(kept).toHaveLength(100)
  expect(kept[0]).toBe('many-149')
})
