import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { numberText, t, timeText } from '../i18n/index.ts'
import { session } from '../live/session.ts'

/** When a limb was there: strips of 24 hours and of 30 days, from `node/history`. */

type History = VerbResult<'node/history'>

const DAY_MS = 86_400_000
const CHANGES = 1000
const KEEP_MS = 60_000
const AT_ONCE = 4
const MAX_KEPT = 2000

interface Kept {
  readonly at: number
  readonly history: Promise<History>
}

const kept = new Map<string, Kept>()
let under = 0
const queue: (() => void)[] = []

/** A few at a time: a list that is scrolled must not fill the session's sixty-four requests. */
async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (under >= AT_ONCE) await new Promise<void>((resolve) => queue.push(resolve))
  under++
  try {
    return await work()
  } finally {
    under--
    queue.shift()?.()
  }
}

export function historyOf(nodeId: string): Promise<History> {
  const found = kept.get(nodeId)
  if (found !== undefined && Date.now() - found.at < KEEP_MS) return found.history
  if (kept.size > MAX_KEPT) kept.clear()
  const since = new Date(Date.now() - 30 * DAY_MS).toISOString()
  const history = inTurn(() => session.ask('node/history', { nodeId, since, limit: CHANGES }))
  kept.set(nodeId, { at: Date.now(), history })
  history.catch(() => kept.delete(nodeId))
  return history
}

export interface Piece {
  readonly from: number
  readonly to: number
  readonly status: 'online' | 'offline' | 'unknown'
}

/** The pieces between `from` and `to`, oldest first; before the first change that is known nothing is. */
export function piecesOf(
  { items, since }: Pick<History, 'items' | 'since'>,
  from: number,
  to: number,
): Piece[] {
  const changes = items.map(({ at, status }) => ({ at: new Date(at).getTime(), status })).reverse()
  const pieces: Piece[] = []
  let status: Piece['status'] = 'unknown'
  let start = Math.max(from, Math.min(new Date(since).getTime(), to))
  if (start > from) pieces.push({ from, to: start, status: 'unknown' })
  const first = changes[0]
  if (first !== undefined) status = first.status === 'online' ? 'offline' : 'online'
  for (const change of changes) {
    if (change.at > start) {
      const end = Math.min(change.at, to)
      pieces.push({ from: start, to: end, status })
      start = end
    }
    status = change.status
  }
  if (start < to) pieces.push({ from: start, to, status })
  return pieces
}

export function Strip({ history, hours }: { history: History; hours: number }): JSX.Element {
  const to = Date.now()
  const from = to - hours * 3_600_000
  const pieces = piecesOf(history, from, to)
  const online = pieces.reduce(
    (sum, piece) => sum + (piece.status === 'online' ? piece.to - piece.from : 0),
    0,
  )
  const knownMs = pieces.reduce(
    (sum, piece) => sum + (piece.status === 'unknown' ? 0 : piece.to - piece.from),
    0,
  )
  const percent = knownMs === 0 ? undefined : (online / knownMs) * 100
  const span = hours === 24 ? t('uptime.day') : t('uptime.month')
  const label =
    percent === undefined
      ? `${span}: ${t('uptime.unknown')}`
      : `${span}: ${t('uptime.percent', { percent: numberText(percent) })}`
  return (
    <svg class="strip" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label={label}>
      {pieces.map((piece) => (
        <rect
          key={piece.from}
          class={piece.status}
          x={((piece.from - from) / (to - from)) * 1000}
          width={Math.max(1.5, ((piece.to - piece.from) / (to - from)) * 1000)}
          y="0"
          height="10"
        >
          <title>{`${t(`uptime.${piece.status}`)} ${timeText(piece.from)} – ${timeText(piece.to)}`}</title>
        </rect>
      ))}
    </svg>
  )
}

/** Of a row, the day above the month: loaded when it has stood still for a moment. */
export function RowStrip({ nodeId }: { nodeId: string }): JSX.Element {
  const [history, setHistory] = useState<History>()
  useEffect(() => {
    let wanted = true
    const load = () =>
      historyOf(nodeId).then(
        (found) => wanted && setHistory(found),
        () => undefined,
      )
    const timer = setTimeout(load, 250)
    return () => {
      wanted = false
      clearTimeout(timer)
    }
  }, [nodeId])
  if (history === undefined) return <span class="strip pending" />
  return (
    <>
      <span class="both">
        <Strip history={history} hours={24} />
        <Strip history={history} hours={720} />
      </span>
      <small>
        {history.uptimePercent === undefined
          ? ''
          : `${numberText(Math.round(history.uptimePercent * 10) / 10)} %`}
      </small>
    </>
  )
}
