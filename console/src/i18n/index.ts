import { Signal } from '../live/signal.ts'
import { en } from './en.ts'

/** The catalogue of messages: English is the list of keys, and the compiler says what another language lacks. */

export type MessageKey = keyof typeof en
export type Catalogue = Readonly<Record<MessageKey, string>>
export type Language = 'en' | 'de'

const KEY = 'limb-bridge-language'

export const languageChanged = new Signal()
let language: Language = 'en'
let catalogue: Catalogue = en
/** How the browser's own people write numbers and times, where they speak this language: en-GB has no AM and PM. */
let locale: string = 'en'

export function currentLanguage(): Language {
  return language
}

export async function setLanguage(next: Language, keep = true): Promise<void> {
  catalogue = next === 'de' ? (await import('./de.ts')).de : en
  language = next
  locale = navigator.languages.find((tag) => tag.slice(0, 2) === next) ?? next
  document.documentElement.lang = next
  if (keep) {
    try {
      localStorage.setItem(KEY, next)
    } catch {}
  }
  formats.clear()
  languageChanged.changed()
}

/** The one that was chosen, else the first of the browser's that there is. */
export async function startLanguage(): Promise<void> {
  let chosen: string | null = null
  try {
    chosen = localStorage.getItem(KEY)
  } catch {}
  const wanted = [chosen ?? '', ...navigator.languages].map((tag) => tag.slice(0, 2))
  const found = wanted.find((tag) => tag === 'de' || tag === 'en') as Language | undefined
  await setLanguage(found ?? 'en', false)
}

type Values = Readonly<Record<string, string | number>>

/** The message, with `{name}` filled in. Of `one|many` the first is taken when `n` is 1. */
export function t(key: MessageKey, values: Values = {}): string {
  const [one = '', many = one] = catalogue[key].split('|')
  const text = values.n === 1 ? one : many
  return text.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => shown(values[name]))
}

/** A message that there may be none for, such as one for a code of a newer bridge. */
export function known(key: string): string | undefined {
  return Object.hasOwn(catalogue, key) ? catalogue[key as MessageKey] : undefined
}

function shown(value: string | number | undefined): string {
  return typeof value === 'number' ? numberText(value) : (value ?? '')
}

const formats = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>()

function format<T>(name: string, make: () => T): T {
  const found = formats.get(name) as T | undefined
  if (found !== undefined) return found
  const made = make()
  formats.set(name, made as Intl.NumberFormat)
  return made
}

export function numberText(value: number): string {
  return format('number', () => new Intl.NumberFormat(locale, { maximumFractionDigits: 2 })).format(value)
}

export function timeText(at: string | number): string {
  const make = () => new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' })
  return format('time', make).format(new Date(at))
}

export function clockText(at: string | number): string {
  return format('clock', () => new Intl.DateTimeFormat(locale, { timeStyle: 'medium' })).format(new Date(at))
}

const STEPS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const

/** `3 minutes`, `2 days`: in the largest unit that fits. */
export function durationText(seconds: number): string {
  const [unit, size] = STEPS.find(([, each]) => seconds >= each) ?? ['second', 1]
  const make = () =>
    new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long', maximumFractionDigits: 0 })
  return format(`d${unit}`, make).format(Math.max(0, Math.floor(seconds / size)))
}

/** The same in little room: `3 min`. */
export function shortDuration(seconds: number): string {
  const [unit, size] = STEPS.find(([, each]) => seconds >= each) ?? ['second', 1]
  const make = () =>
    new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits: 0 })
  return format(`s${unit}`, make).format(Math.max(0, Math.floor(seconds / size)))
}
