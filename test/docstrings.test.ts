import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

/** Docstrings are sentences for who does not know the code yet: the subject or the verb first, a full stop at the end. */

const SRC = resolve(import.meta.dirname, '../src')

/** Begins a fragment, which says something only to who has read the declaration. */
const FRAGMENT = new RegExp(
  `^(${[
    'What|Who|Whose|Whom|Whether|Which|Where|When|Why|How|That|Those|Whoever|Whatever|Wherever|So|As|Since|Because|And|Or|But|Than|Like',
    'Of|To|For|From|By|In|On|At|With|Without|Within|Into|After|Before|Until|While|Between|Below|Beyond|Beside|Over|Under|During|Among|Against',
    'If|Once|Only|Not|No|More|Same|Null|Undefined|Infinity|0|-1',
  ].join('|')})(?![\\w-])`,
  'i',
)

/** The text of a docstring as one line, and its tags (`@throws …`) apart. */
function read(docstring: string): { text: string; tags: string[] } {
  const [text = '', ...tags] = docstring
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, ''))
    .join(' ')
    .replace(/\s+/g, ' ')
    .split(/(?<=^|\s)@(?=\w)/)
    .map((part) => part.trim())
  return { text, tags }
}

/** Says what is wrong with a docstring; undefined: nothing. */
function fault(docstring: string): string | undefined {
  const { text, tags } = read(docstring)
  if (text === '') return tags.length > 0 ? undefined : 'is empty'
  if (FRAGMENT.test(text)) return `begins with "${text.split(' ')[0]}"`
  if (!/^(?:[A-Z\d"'([$#+`]|better-sqlite3)/.test(text)) return 'does not begin like a sentence'
  if (!/\.$/.test(text)) return 'does not end with a full stop'
  return undefined
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))

describe('docstrings', () => {
  it.each([
    ['/** What a limb says. */', 'begins with "What"'],
    ['/** of the limb. */', 'begins with "of"'],
    ['/** Null: there is none. */', 'begins with "Null:"'],
    ['/**\n * Whether it\n * is there.\n */', 'begins with "Whether"'],
    ['/** the limb. */', 'does not begin like a sentence'],
    ['/** Returns the limb */', 'does not end with a full stop'],
    ['/** Returns the limb @throws Refusal */', 'does not end with a full stop'],
    ['/** */', 'is empty'],
    ['/** Returns whether it is there. */', undefined],
    ['/** Whole messages (not fragments). @throws Refusal */', undefined],
    ['/** @throws Refusal */', undefined],
  ])('are judged: %j', (docstring, expected) => {
    expect(fault(docstring.slice(3, -2))).toBe(expected)
  })

  it('are sentences that begin with their subject or verb, and end', () => {
    const wrong = files.flatMap((file) => {
      const text = readFileSync(join(SRC, file), 'utf8')
      return [...text.matchAll(/\/\*\*([\s\S]*?)\*\//g)].flatMap((match) => {
        const found = fault(match[1] ?? '')
        const line = text.slice(0, match.index).split('\n').length
        return found === undefined ? [] : [`src/${file}:${line} ${found}`]
      })
    })
    expect(wrong).toEqual([])
  })
})
