import { expect, test } from 'vitest'
import { openApi, openApiDocument } from '../../../src/http/api/openapi.ts'
import { VERBS } from '../../../src/protocol/verbs.ts'

test('the document is made half a verb in each turn of the event loop, once, and is the same as in one go', async () => {
  let turns = 0
  const pause = async () => {
    turns++
  }
  const [first, second] = await Promise.all([openApi('1.2.3', pause), openApi('1.2.3', pause)])
  expect(turns).toBe(2 * Object.keys(VERBS).length)
  expect(second).toBe(first)
  expect(JSON.parse(first.toString())).toEqual(openApiDocument('1.2.3'))
})
