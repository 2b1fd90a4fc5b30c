/**
 * The one rule for every text that people or models read: nothing in it is invisible, turns the direction of
 * writing, or ends the line. It follows Unicode's properties, so that new characters of a kind are covered with it,
 * and lets a joiner, a selector or a tag pass exactly where a script or an emoji is written with it.
 */

/** Characters that are never part of a readable text. U+00AD, U+034F, U+180E and all of U+E0000 to U+E0FFF are among them. */
const HIDDEN =
  '[\\p{Cc}\\p{Cs}\\p{Co}\\p{Zl}\\p{Zp}\\p{Cf}\\p{Default_Ignorable_Code_Point}\\p{Noncharacter_Code_Point}]'

/**
 * Characters of category Cf that are drawn: signs of Arabic, Syriac and Kaithi that stand before or around numbers
 * and words.
 */
const DRAWN = '[\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u{110bd}\\u{110cd}]'

/** Scripts in which a joiner changes what is drawn: cursive ones, and those that stack their consonants. */
const JOINING = [
  ...['Arabic', 'Syriac', 'Mandaic', 'Nko', 'Mongolian', 'Phags_Pa', 'Adlam', 'Hanifi_Rohingya', 'Sogdian'],
  ...['Devanagari', 'Bengali', 'Gurmukhi', 'Gujarati', 'Oriya', 'Tamil', 'Telugu', 'Kannada', 'Malayalam'],
  ...[
    'Sinhala',
    'Myanmar',
    'Khmer',
    'Tibetan',
    'Javanese',
    'Balinese',
    'Kaithi',
    'Grantha',
    'Newa',
    'Tirhuta',
  ],
]
const JOINED = `(?:(?=[\\p{L}\\p{M}])[${JOINING.map((script) => `\\p{Script_Extensions=${script}}`).join('')}])`
const EMOJI = '(?:(?![0-9#*])\\p{Emoji})'

/** Lists where a hidden character is part of how something visible is written. */
const IN_CONTEXT = [
  // Persian and Kurdish words, Indic conjuncts: between two letters or marks of such a script.
  `(?<=${JOINED})[\\u200c\\u200d](?=${JOINED})`,
  // A family, a flag of two signs, a profession.
  '(?<=[\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\ufe0f])\\u200d(?=\\p{Extended_Pictographic})',
  // As a picture or as text; a keycap.
  `(?<=${EMOJI})[\\ufe0e\\ufe0f]`,
  '(?<=[0-9#*])\\ufe0f(?=\\u20e3)',
  // The other form of a Mongolian letter.
  '(?<=(?=\\p{L})\\p{Script=Mongolian})[\\u180b-\\u180d\\u180f]',
].join('|')

/** The flags of England, Scotland and Wales, the only ones that are written with tags. */
const TAG_FLAGS = ['gbeng', 'gbsct', 'gbwls']
  .map((region) => [...region].map((letter) => tagOf(letter)).join(''))
  .map((tags) => `\\u{1f3f4}${tags}\\u{e007f}`)
  .join('|')

function tagOf(letter: string): string {
  return `\\u{${(0xe0000 + letter.charCodeAt(0)).toString(16)}}`
}

// What is allowed is tried first and stepped over; what then matches the group is hidden.
const FIND = new RegExp(`${TAG_FLAGS}|${IN_CONTEXT}|${DRAWN}|(${HIDDEN})`, 'gu')
const MAY_HIDE = new RegExp(HIDDEN, 'u')

/** Space, or drawn as one: such a character makes no name. */
const BLANKS = '\\s\\u2800\\u115f\\u1160\\u3164\\uffa0\\u{16fe4}\\u{1d159}\\u{13441}\\u{13442}'
const DRAWS = new RegExp(`(?![${BLANKS}])[\\p{L}\\p{N}\\p{P}\\p{S}]`, 'u')

/** `text` with each character that may not be there replaced; the others are not touched. */
export function replaceHidden(text: string, replacement: (char: string) => string): string {
  if (!MAY_HIDE.test(text)) return text
  return text.replace(FIND, (all: string, hidden: string | undefined) =>
    hidden === undefined ? all : replacement(hidden),
  )
}

/** The first character that may not be there. */
export function hiddenIn(text: string): string | undefined {
  let found: string | undefined
  replaceHidden(text, (char) => {
    found ??= char
    return char
  })
  return found
}

/** Returns whether nothing of it can be seen: spaces, fillers, and marks without anything to stand on. */
export function isBlank(text: string): boolean {
  return !DRAWS.test(replaceHidden(text, () => ''))
}

const KINDS: readonly (readonly [RegExp, string])[] = [
  [/\p{Cc}/u, 'a control character'],
  [/\p{Cs}/u, 'half of a surrogate pair'],
  [/\p{Co}/u, 'a private-use character'],
  [/\p{Bidi_Control}/u, 'a character that turns the direction of writing'],
  [/[\u200c\u200d]/u, 'a joiner where no script and no emoji is written with one'],
]

/** "contains a control character, U+0007"; undefined when all of it can be read. */
export function unreadable(text: string): string | undefined {
  const found = hiddenIn(text)
  if (found === undefined) return undefined
  const kind = KINDS.find(([pattern]) => pattern.test(found))?.[1] ?? 'an invisible character'
  const code = (found.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
  return `contains ${kind}, U+${code}`
}

/** Letters, digits and signs of ASCII, with spaces behind the first: most texts, and nothing of them is hidden. */
const PLAIN = /^[!-~][ -~]*$/

/** A text of a time before this rule, as it can be shown: what may not be there is a sign that something was. */
export function legible(text: string): string {
  if (PLAIN.test(text)) return text
  const shown = replaceHidden(text, () => '\ufffd')
  return isBlank(shown) ? '\ufffd' : shown
}
