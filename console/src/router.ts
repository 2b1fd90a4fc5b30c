import { Signal } from './live/signal.ts'

/** Where the page is: all of it stands behind the `#`, so that the bridge never sees it and a reload comes back to it. */

export interface Route {
  readonly page: string
  /** Of the limb, say; empty when there is none. */
  readonly id: string
  readonly query: URLSearchParams
}

export const routeChanged = new Signal()

export function currentRoute(): Route {
  const [path = '', query = ''] = location.hash.slice(1).split('?', 2)
  const [page = '', id = ''] = path.replace(/^\//, '').split('/')
  return { page: page || 'today', id: decoded(id), query: new URLSearchParams(query) }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}

export function href(page: string, id = '', query: Readonly<Record<string, string>> = {}): string {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== '')).toString()
  return `#/${page}${id === '' ? '' : `/${encodeURIComponent(id)}`}${search === '' ? '' : `?${search}`}`
}

export function go(page: string, id = ''): void {
  location.hash = href(page, id)
}

/** In place of what stands there: typing in a filter is no new page of the history. */
export function setQuery(changes: Readonly<Record<string, string>>): void {
  const { page, id, query } = currentRoute()
  const next = { ...Object.fromEntries(query), ...changes }
  history.replaceState(null, '', href(page, id, next))
  routeChanged.changed()
}

addEventListener('hashchange', () => routeChanged.changed())
