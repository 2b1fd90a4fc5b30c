import { expect, test } from 'vitest'
import { createStore } from '../../src/store/sqlite/store.ts'
import { nodeOf, requestOf } from '../contract/store.contract.ts'
import { open, temporaryFile } from './fixture.ts'

test('names that an older rule accepted do not keep the bridge from starting, and hide nothing', async () => {
  const database = open(temporaryFile())
  const store = createStore(database)
  const request = requestOf('r-1', 'cam-2')
  const registration = { ...request.registration, displayName: '\u2800', platform: 'esp\u00ad32' }
  await store.transact(async (tx) => {
    await tx.putNode({
      ...nodeOf('cam-1'),
      displayName: 'Cam\u{e0041}',
      operatorName: '\u3164',
      firmware: '1\u200d',
    })
    await tx.putRequest({ ...request, registration })
  })
  const nodes = []
  for await (const page of store.loadNodes()) nodes.push(...page)
  expect(nodes).toMatchObject([{ displayName: 'Cam\ufffd', operatorName: '\ufffd', firmware: '1\ufffd' }])
  const [stored] = (await store.loadRequests({ now: 0, maxRequests: 100, maxBytes: 1_000_000 })).requests
  expect(stored?.registration).toMatchObject({ displayName: '\ufffd', platform: 'esp\ufffd32' })
  await database.close()
})
