import { describe, expect, test } from 'vitest'
import { mixedAlphabets } from '../../src/kernel/confusables.ts'

describe('alphabets in one word', () => {
  test.each([
    ['Front camera', []],
    ['Caméra avant nº 2', []],
    ['Камера у двери', []],
    ['Камера ESP32', []],
    ['Κάμερα', []],
    ['前のカメラ', []],
    ['sensor 5kΩ, 10µF', []],
    ['Frоnt camera', ['Latin', 'Cyrillic']],
    ['door Саmera', ['Latin', 'Cyrillic']],
    ['Αdmin', ['Latin', 'Greek']],
    ['ｆront', ['Latin', 'mathematical']],
  ])('%s: %j', (text, alphabets) => {
    expect(mixedAlphabets(text)).toEqual(alphabets)
  })
})
