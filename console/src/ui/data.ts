import { useEffect, useRef, useState } from 'preact/hooks'
import type { Signal } from '../live/signal.ts'

/** What a verb answered, or why it did not; `undefined` while it is asked the first time. */
export interface Loaded<T> {
  readonly data: T | undefined
  readonly error: unknown
  readonly loading: boolean
  readonly again: () => void
}

/** Asks when the component appears, when `keys` change and when a signal does; an older answer never replaces a newer. */
export function useLoaded<T>(
  ask: () => Promise<T>,
  keys: readonly unknown[],
  again: readonly Signal[] = [],
): Loaded<T> {
  const [state, setState] = useState<{ data: T | undefined; error: unknown; loading: boolean }>({
    data: undefined,
    error: undefined,
    loading: true,
  })
  const turn = useRef(0)
  const run = () => {
    const mine = ++turn.current
    setState((before) => ({ ...before, loading: true }))
    ask().then(
      (data) => mine === turn.current && setState({ data, error: undefined, loading: false }),
      (error: unknown) =>
        mine === turn.current && setState((before) => ({ ...before, error, loading: false })),
    )
  }
  useEffect(() => {
    setState({ data: undefined, error: undefined, loading: true })
    run()
    const ends = again.map((signal) => signal.listen(run))
    return () => {
      turn.current++
      for (const end of ends) end()
    }
  }, [...keys, ...again])
  return { ...state, again: run }
}
