import { Signal } from '../live/signal.ts'

/** Dark or light: as the system says, unless somebody chose. */

export type Theme = 'system' | 'light' | 'dark'

const KEY = 'limb-bridge-theme'
const NEXT: Readonly<Record<Theme, Theme>> = { system: 'light', light: 'dark', dark: 'system' }

export const themeChanged = new Signal()
let theme: Theme = 'system'

export function currentTheme(): Theme {
  return theme
}

export function startTheme(): void {
  try {
    const kept = localStorage.getItem(KEY)
    if (kept === 'light' || kept === 'dark') apply(kept)
  } catch {}
}

export function nextTheme(): void {
  apply(NEXT[theme])
  try {
    localStorage.setItem(KEY, theme)
  } catch {}
}

function apply(next: Theme): void {
  theme = next
  const { dataset } = document.documentElement
  if (next === 'system') delete dataset.theme
  else dataset.theme = next
  themeChanged.changed()
}
