import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { keptParams } from '../../../src/bridge/invocation/kept-params.ts'
import { start } from '../fixture.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

const MIB = 1024 * 1024
/** A list of numbers: 240,000 bytes of JSON, and a value of a mebibyte. */
const PARAMS = { x: Array.from({ length: 120_000 }, () => 1) }

function used(): number {
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return (heapUsed + arrayBuffers) / MIB
}

test('small params are kept as they are, and large ones as JSON, not as the value', () => {
  const small = { on: true }
  expect(keptParams(small, 11)()).toBe(small)
  const kept = keptParams(PARAMS, 240_000)
  expect(kept()).toEqual(PARAMS)
  expect(kept()).not.toBe(kept())
  expect(kept()).not.toBe(PARAMS)
})

test.each([
  ['a limb that is away', 'free'],
  ['an operator', 'gated'],
])(
  'an invocation that waits for %s costs the bytes of its params, however many numbers they are',
  async (_, authLevel) => {
    const { ask, core, context } = await start()
    Object.assign(context.settings.invocation, { maxWaiting: 100, maxKeysPerPrincipal: 100 })
    const capabilities = [{ cap: 'camera', commands: ['camera.snap'], authLevel }]
    await ask('node/import', { nodes: ['cam0', 'cam1'].map((nodeId) => ({ nodeId, capabilities })) })
    const invoke = (i: number) =>
      ask('invoke', {
        nodeId: `cam${i % 2}`,
        command: 'camera.snap',
        params: PARAMS,
        offlineWaitSeconds: 3600,
        idempotencyKey: `k${i}`,
      })
    const waiting = () => {
      const { queued, waiting, offline } = core.control.openInvocations
      return queued + waiting + offline
    }
    const one = async (i: number) => {
      await invoke(i)
      await expect.poll(waiting, { interval: 2 }).toBe(i + 1)
    }
    await one(0)
    const before = used()
    for (let i = 1; i <= 32; i++) await one(i)
    // 32 times 0.23 MiB; as values they would be 29 MiB, and the requests as they came 7.
    await expect.poll(() => used() - before).toBeLessThan(12)
  },
)
