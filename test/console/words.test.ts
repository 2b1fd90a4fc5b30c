import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AUDIT_KINDS } from '../../src/protocol/audit-kinds.ts'
import { EVENTS } from '../../src/protocol/events.ts'
import { LEVELS, REASONS, ROLES, STATUSES } from '../../src/protocol/names.ts'

/** The words of the console in both of its languages: nobody reads `node.key_taken` where a sentence should stand. */

type Catalogue = Readonly<Record<string, string>>

/** By a path that the compiler does not follow: behind it stand the types of a browser. */
const catalogueOf = async (language: string): Promise<Catalogue> =>
  (await import(join(import.meta.dirname, `../../console/src/i18n/${language}.ts`)))[language]
const [en, de] = await Promise.all([catalogueOf('en'), catalogueOf('de')])

const NAMES = [
  ...AUDIT_KINDS.map((kind) => `audit.${kind}`),
  ...Object.keys(EVENTS).map((kind) => `event.${kind}`),
  ...STATUSES.map((status) => `status.${status}`),
  ...REASONS.map((reason) => `reason.${reason}`),
  ...LEVELS.map((level) => `level.${level}`),
  ...ROLES.map((role) => `role.${role}`),
]
/** The places that a text fills: `{n}`, and none for the plural behind `|`. */
const places = (text: string) => [...new Set(text.match(/\{\w+\}/g))].sort()

describe.each([
  ['English', en],
  ['German', de],
])('the catalogue in %s', (_language, catalogue) => {
  test('has words for every kind of row and event, every status, reason, level and role', () => {
    expect(NAMES.filter((name) => !Object.hasOwn(catalogue, name))).toEqual([])
  })

  test('has the same keys as the other one, and nothing that is empty', () => {
    expect(Object.keys(catalogue).sort()).toEqual(Object.keys(en).sort())
    expect(Object.entries(catalogue).filter(([, text]) => text.trim() === '')).toEqual([])
  })

  test('fills the same places in each text', () => {
    const wrong = Object.entries(en).filter(
      ([key, text]) => String(places(text)) !== String(places(catalogue[key] ?? '')),
    )
    expect(wrong.map(([key]) => key)).toEqual([])
  })
})
