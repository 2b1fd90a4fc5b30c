import type { JSX } from 'preact'
import { numberText, t } from '../i18n/index.ts'

/** A small chart of the last values, drawn as one line. */

export interface Point {
  readonly at: number
  readonly value: number
}

const WIDTH = 160
const HEIGHT = 36

export function Spark({ points, label }: { points: readonly Point[]; label: string }): JSX.Element | null {
  const [first] = points
  const last = points[points.length - 1]
  if (first === undefined || last === undefined || points.length < 2) return null
  const values = points.map(({ value }) => value)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const span = high - low || 1
  const time = last.at - first.at || 1
  const place = ({ at, value }: Point) =>
    `${(((at - first.at) / time) * WIDTH).toFixed(1)},${(HEIGHT - 3 - ((value - low) / span) * (HEIGHT - 6)).toFixed(1)}`
  const text = t('spark', { label, low: numberText(low), high: numberText(high) })
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={text}
    >
      <title>{text}</title>
      <polyline points={points.map(place).join(' ')} />
    </svg>
  )
}
