import { connect } from 'node:net'
import pg from 'pg'
import { expect, test } from 'vitest'
import { StartError } from '../../../src/kernel/errors.ts'
import { StoreError } from '../../../src/store/errors.ts'
import { detailOf, reasonOf } from '../../../src/store/postgres/errors.ts'

test('strangers hear the code of a failure, and nothing of the address, the user or the files; the log has all of it', async () => {
  const refused = await new Promise<Error>((resolve) => connect('/nonexistent/socket').once('error', resolve))
  const wrong = new pg.DatabaseError('password authentication failed for user "limb"', 0, 'error')
  wrong.code = '28P01'
  const file = new StartError('store.passwordFile: there is no file /etc/limb-bridge/database')
  expect([refused, wrong, file].map(reasonOf)).toEqual([
    'the connection to the server failed (ENOENT)',
    'the server refuses it (28P01)',
    'the connection to the server failed',
  ])
  expect([refused, wrong, file].map(detailOf)).toEqual([
    'connect ENOENT /nonexistent/socket',
    'password authentication failed for user "limb"',
    'store.passwordFile: there is no file /etc/limb-bridge/database',
  ])
})

test('what the bridge says of the database in its own words is heard as it is', () => {
  expect(reasonOf(new StoreError('Another bridge has the database.'))).toBe(
    'Another bridge has the database.',
  )
})
