import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { credential } from '../../../src/host/systemd/credentials.ts'

const folder = mkdtempSync(join(tmpdir(), 'limb-credentials-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('a credential is a file of the service manager’s folder, without its last line feed', () => {
  writeFileSync(join(folder, 'admin-password'), 'two words \n')
  expect(credential({ CREDENTIALS_DIRECTORY: folder }, 'admin-password')).toBe('two words ')
})

test('a credential that an editor of another system wrote is the same one', () => {
  writeFileSync(join(folder, 'admin-password'), '\ufefftwo words \r\n\n')
  expect(credential({ CREDENTIALS_DIRECTORY: folder }, 'admin-password')).toBe('two words ')
})

test('one that is missing is none', () => {
  expect(credential({}, 'admin-password')).toBeUndefined()
  expect(credential({ CREDENTIALS_DIRECTORY: join(folder, 'gone') }, 'admin-password')).toBeUndefined()
})

test('one that cannot be read stops the start', () => {
  mkdirSync(join(folder, 'sub/admin-password'), { recursive: true })
  expect(() => credential({ CREDENTIALS_DIRECTORY: join(folder, 'sub') }, 'admin-password')).toThrow(/EISDIR/)
})
