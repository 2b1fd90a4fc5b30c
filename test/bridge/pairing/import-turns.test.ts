import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { keyOf } from '../../support/app.ts'
import { candidateOf, settled, start } from '../fixture.ts'

const LIMBS = 100
/** The time that it takes to tell all sessions of one event. */
const EVENT_MS = 2

async function startWatched() {
  const bridge = await start()
  const { context, clock, core } = bridge
  const events: { kind: string; nodeId: string; known: number }[] = []
  const { publish } = context.publisher
  context.publisher.publish = (topic, payload, options) => {
    publish(topic, payload, options)
    if (!topic.includes('/event/')) return
    clock.standStill(EVENT_MS)
    const { kind, nodeId } = JSON.parse(Buffer.from(payload).toString())
    events.push({ kind, nodeId, known: core.registry.size })
  }
  return { ...bridge, events }
}

const nodes = Array.from({ length: LIMBS }, (_, i) => ({ nodeId: `cam${i}` }))

test('limbs that are imported are known all at once, told of in turns, and answered last', async () => {
  const { ask, events } = await startWatched()
  let isAnswered = false
  const answered = ask('node/import', { nodes }).then(async () => {
    await settled()
    isAnswered = true
  })
  let most = 0
  for (let before = 0; events.length < 2 * LIMBS; before = events.length) {
    expect(isAnswered).toBe(false)
    await turn()
    most = Math.max(most, events.length - before)
  }
  await answered
  expect(new Set(events.map(({ known }) => known))).toEqual(new Set([LIMBS]))
  // Eight milliseconds of a turn, and the one that goes beyond them.
  expect(most).toBeLessThanOrEqual(10)
  expect(events.slice(0, 3).map(({ kind, nodeId }) => `${kind} ${nodeId}`)).toEqual([
    'node_status cam0',
    'node_provisioned cam0',
    'node_status cam1',
  ])
})

test('of a limb that is revoked before its turn nobody is told that it is there', async () => {
  const { ask, events } = await startWatched()
  const answered = ask('node/import', { nodes })
  while (events.length === 0) await turn()
  const last = `cam${LIMBS - 1}`
  await ask('node/revoke', { nodeId: last })
  await answered
  await settled()
  expect(events.filter(({ nodeId }) => nodeId === last).map(({ kind }) => kind)).toEqual(['node_revoked'])
  expect(events.filter(({ kind }) => kind === 'node_provisioned')).toHaveLength(LIMBS - 1)
})

test('an import that a stop finds under way is told of and answered before the bridge ends: its keys are shown once', async () => {
  const { ask, core, events } = await startWatched()
  let isAnswered = false
  const answered = ask('node/import', { nodes }).then(() => {
    isAnswered = true
  })
  while (events.length === 0) await turn()
  expect(isAnswered).toBe(false)
  const stopped = core.finishRequests()
  // The next part of a file, as the first one was answered.
  const next = await ask('node/import', { nodes: [{ nodeId: 'late' }] })
  expect(next?.error).toMatchObject({ message: expect.stringContaining('the bridge is stopping') })
  await stopped
  expect([isAnswered, core.registry.get('late')]).toEqual([true, undefined])
  expect(events.filter(({ kind }) => kind === 'node_provisioned')).toHaveLength(LIMBS)
  await answered
})

test.each([
  ['is a limb when its turn has come', false, { kind: 'limb', isEnded: false }],
  [
    'is none, and comes again, when its key was rotated before its turn',
    true,
    { kind: 'candidate', isEnded: true },
  ],
])('a device that waits with the key that an import gave it %s', async (_what, isRotated, expected) => {
  const { ask, core, events } = await startWatched()
  const last = `cam${LIMBS - 1}`
  const device = candidateOf(last)
  let isEnded = false
  device.end = () => {
    isEnded = true
  }
  core.opened(device)
  const answered = ask('node/import', {
    nodes: nodes.map(({ nodeId }) => ({ nodeId, apiKey: keyOf(nodeId) })),
  })
  while (events.length === 0) await turn()
  if (isRotated) await ask('node/rotate-key', { nodeId: last, immediate: true })
  await answered
  await settled()
  expect({ kind: device.identity.kind, isEnded }).toEqual(expected)
})
