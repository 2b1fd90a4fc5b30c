import { expect, test } from 'vitest'
import { firstLineOfSecret, secretText } from '../../src/kernel/secret-text.ts'

test.each([
  ['a line feed', 'secret\n'],
  ['a line end of DOS', 'secret\r\n'],
  ['several lines that are empty', 'secret\n\r\n\n'],
  ['a byte order mark', '\ufeffsecret'],
  ['both', '\ufeffsecret\r\n'],
])('a secret does not hold %s around it', (_what, text) => {
  expect(secretText(text)).toBe('secret')
  expect(secretText(Buffer.from(text))).toBe('secret')
  expect(firstLineOfSecret(Buffer.from(text))).toBe('secret')
})

test('a secret keeps its spaces, and what stands within it', () => {
  expect(secretText(' two  words \n')).toBe(' two  words ')
  expect(secretText('a\ufeffb\nc')).toBe('a\ufeffb\nc')
  expect(firstLineOfSecret('a\nb')).toBe('a')
})

test('a file of UTF-16, as PowerShell writes it, is read as such', () => {
  expect(secretText(Buffer.from('\ufeffsécret\r\n', 'utf16le'))).toBe('sécret')
})
