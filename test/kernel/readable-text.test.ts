import { describe, expect, it } from 'vitest'
import { isBlank, legible, unreadable } from '../../src/kernel/readable-text.ts'

const TAGS = [...'gbeng'].map((letter) => String.fromCodePoint(0xe0000 + letter.charCodeAt(0))).join('')
const ENGLAND = `\u{1f3f4}${TAGS}\u{e007f}`

describe('a text for people and models', () => {
  it.each([
    ['German and Chinese', 'Kamera Gänseblümchen 前門'],
    ['Persian with its joiner', '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645'],
    ['Hindi with either joiner', '\u0915\u094d\u200d\u0937 \u0930\u094d\u200c\u0915'],
    ['Sinhala', '\u0dc1\u0dca\u200d\u0dbb\u0dd3'],
    ['Malayalam', '\u0d28\u0d4d\u200d\u0d31\u0d46'],
    ['Bengali', '\u09b0\u200d\u09cd\u09af'],
    ['Mongolian with the other form of a letter', '\u1820\u180b'],
    ['an Arabic sign of a number', '\u0600\u0663'],
    ['a family', '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}\u200d\u{1f466}'],
    ['a profession with a colour of skin', '\u{1f469}\u{1f3fd}\u200d\u{1f680}'],
    ['a rainbow flag', '\u{1f3f3}\ufe0f\u200d\u{1f308}'],
    ['the flag of England', ENGLAND],
    ['a keycap', '1\ufe0f\u20e3'],
    ['a sun as a picture and as text', '\u2600\ufe0f \u2600\ufe0e'],
    ['a letter and its accent', 'e\u0301'],
    ['a dot of Braille', '\u2801'],
  ])('may hold %s', (_what, text) => {
    expect(unreadable(text)).toBeUndefined()
    expect(isBlank(text)).toBe(false)
    expect(legible(text)).toBe(text)
  })

  it.each([
    ['tags', 'lamp\u{e0069}\u{e0067}\u{e006e}', 'E0069'],
    ['tags behind a flag that are none of its', '\u{1f3f4}\u{e0069}\u{e007f}', 'E0069'],
    ['a selector of the supplement', 'A\u{e0100}', 'E0100'],
    ['such a selector behind an ideograph', '\u845b\u{e0100}', 'E0100'],
    ['many selectors behind an emoji', '\u{1f600}\ufe0f\ufe0f', 'FE0F'],
    ['a selector behind a letter', 'a\ufe0f', 'FE0F'],
    ['a selector behind a digit that is no keycap', 'Camera 1\ufe0f', 'FE0F'],
    ['a first selector', 'a\ufe00', 'FE00'],
    ['a soft hyphen', 'cam\u00adera', 'AD'],
    ['a grapheme joiner', 'a\u034fb', '34F'],
    ['a Mongolian vowel separator', 'a\u180eb', '180E'],
    ['a selector of Mongolian in Latin', 'a\u180b', '180B'],
    ['a joiner between Latin letters', 'ad\u200dmin', '200D'],
    ['a non-joiner between Latin letters', 'ad\u200cmin', '200C'],
    ['two joiners in a row', '\u0645\u200c\u200c\u062e', '200C'],
    ['a joiner at the end', '\u{1f600}\u200d', '200D'],
    ['a joiner between an emoji and a letter', '\u{1f600}\u200da', '200D'],
    ['a filler of Hangul', 'a\u3164b', '3164'],
    ['an old filler of Hangul', 'a\u115fb', '115F'],
    ['a narrow filler of Hangul', 'a\uffa0b', 'FFA0'],
    ['a Khmer vowel nobody sees', 'a\u17b4', '17B4'],
    ['an invisible times', 'a\u2062b', '2062'],
    ['a code point reserved for what is invisible', 'a\u2065b', '2065'],
    ['another one', 'a\u{e0fff}', 'E0FFF'],
    ['an annotation', '\ufff9a\ufffab\ufffb', 'FFF9'],
    ['a beam of music', 'a\u{1d173}', '1D173'],
    ['a control of shorthand', 'a\u{1bca0}', '1BCA0'],
    ['a control of hieroglyphs', 'a\u{13430}', '13430'],
    ['a mark that turns the direction', 'a\u202egnp', '202E'],
    ['the Arabic letter mark', 'a\u061c', '61C'],
    ['a noncharacter', 'a\ufdd0', 'FDD0'],
    ['a byte order mark', '\ufeffcam', 'FEFF'],
    ['half of a pair', 'a\ud800', 'D800'],
    ['a private-use character', 'a\u{f0000}', 'F0000'],
    ['an escape', '\u001b[2J', '1B'],
    ['a line separator', 'a\u2028b', '2028'],
  ])('may not hold %s', (_what, text, code) => {
    expect(unreadable(text)).toContain(`U+${code.padStart(4, '0')}`)
    expect(unreadable(legible(text))).toBeUndefined()
  })

  it.each([
    '',
    ' ',
    '\u00a0',
    '\u3000',
    '\u2800',
    '\u2800 \u2800',
    '\u3164',
    '\u115f\u1160',
    '\uffa0',
    '\u0301',
    '\u{1d159}',
    '\u200b',
  ])('is blank when it is %j', (text) => {
    expect(isBlank(text)).toBe(true)
    expect(isBlank(legible(text))).toBe(false)
  })
})
