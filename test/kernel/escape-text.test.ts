import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { escapeJson, escapeText } from '../../src/kernel/escape-text.ts'

/** What a terminal, or a reader's eye, obeys. */
const OBEYED = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]/u

const nasty = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      '\n',
      '\r',
      '\u001b',
      '\u009b',
      '\u202e',
      '\u2066',
      '\u200b',
      '\ufeff',
      '\ud800',
      '\u2028',
      '"',
      '\\',
    ),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
})

describe('visible', () => {
  it.each([
    ['Front camera', 'Front camera'],
    ['Kamera Gänseblümchen 前門 🎥', 'Kamera Gänseblümchen 前門 🎥'],
    ['two\nlines', 'two\\nlines'],
    ['\u001b[31mred', '\\x1b[31mred'],
    ['a\u202egnp.exe', 'a\\u{202e}gnp.exe'],
    ['\ud800', '\\u{d800}'],
    ['\u{e0041}', '\\u{e0041}'],
    ['', ''],
  ])('shows %j as %j', (text, shown) => {
    expect(escapeText(text)).toBe(shown)
  })

  it('leaves nothing that a terminal obeys, on one line', () => {
    fc.assert(
      fc.property(nasty, (text) => {
        expect(escapeText(text)).not.toMatch(OBEYED)
      }),
    )
  })
})

describe('visibleJson', () => {
  it('is the same JSON without anything that a terminal obeys', () => {
    fc.assert(
      fc.property(fc.dictionary(nasty, nasty), (value) => {
        const json = escapeJson(JSON.stringify(value))
        expect(json).not.toMatch(OBEYED)
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })
})
