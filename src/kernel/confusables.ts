/**
 * Names whose letters look alike and are not: `Саmera` begins with two Cyrillic letters. A word that mixes an
 * alphabet with another that has twins of its letters is no word of any language; whole words of other
 * alphabets are, and are nobody's business.
 */
const ALPHABETS: readonly (readonly [string, RegExp])[] = [
  ['Latin', /\p{Script=Latin}/u],
  ['Greek', /\p{Script=Greek}/u],
  ['Cyrillic', /\p{Script=Cyrillic}/u],
  ['Armenian', /\p{Script=Armenian}/u],
  ['Cherokee', /\p{Script=Cherokee}/u],
  ['Coptic', /\p{Script=Coptic}/u],
  ['mathematical', /[\u{1d400}-\u{1d7ff}\uff21-\uff3a\uff41-\uff5a]/u],
]
// Signs of units are Greek and stand beside Latin letters: Ω, µ.
const UNITS = /[\u2126\u00b5\u03a9\u03bc]/gu
const WORD = /[\p{L}\p{M}\p{N}]+/gu

/** The alphabets of the first word that mixes some; empty when none does. */
export function mixedAlphabets(text: string): readonly string[] {
  for (const word of text.normalize('NFC').replace(UNITS, '').match(WORD) ?? []) {
    const found = ALPHABETS.filter(([, letters]) => letters.test(word)).map(([name]) => name)
    if (found.length > 1) return found
  }
  return []
}
