import type { CliContext } from '../context.ts'
import type { Bridge } from '../session/session.ts'
import { type DisplayRow, nodeColumns } from '../terminal/presentation.ts'
import { clip, shown, table, widthOf } from '../terminal/text.ts'
import { Fleet, nodeFilters, Waiting, waitingFilters, waitingLines } from './fleet.ts'

/** The live table of `watch` on a terminal. */

/** Ages move on, and many changes are one redraw. */
const REDRAW_MS = 250
const TICK_MS = 1000
/** Some terminals (a serial line) say that they have no size, which is 0. */
const DEFAULT_ROWS = 24

const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'
const OTHER_SCREEN = '\x1b[?1049h'
const FIRST_SCREEN = '\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'

export interface LiveOptions {
  /** Names the bridge. */
  readonly where: string
  /** The status that all shown limbs have. */
  readonly status: string | undefined
}

export async function liveTable(context: CliContext, bridge: Bridge, options: LiveOptions): Promise<void> {
  const { stdout } = context.io
  const fleet = new Fleet()
  const waiting = new Waiting()
  let connected = true
  let cancel = () => {}
  let due = false
  let top = 0

  const draw = () => {
    due = false
    const shownNow = screen(context, { ...options, fleet, waiting, connected, top })
    top = shownNow.top
    stdout.write(HOME + shownNow.lines.map((line) => `${line}${CLEAR_LINE}\n`).join('') + CLEAR_BELOW)
    schedule(TICK_MS)
  }
  const schedule = (ms: number) => {
    cancel()
    cancel = context.clock.after(ms, draw)
  }
  const soon = () => {
    if (due) return
    due = true
    schedule(REDRAW_MS)
  }
  const move = (by: number) => {
    top = Math.max(0, top + by)
    draw()
  }

  const ended = untilEnded(context, move)
  bridge.onConnection((now) => {
    // What was retained comes again after a reconnect; what is gone meanwhile does not.
    if (now) {
      fleet.rows.clear()
      waiting.clear()
    }
    connected = now
    soon()
  })
  stdout.write(OTHER_SCREEN + HIDE_CURSOR)
  try {
    await bridge.watch(nodeFilters(bridge), (topic, payload) => {
      fleet.heard(bridge, topic, payload)
      soon()
    })
    // A principal who may not see it watches the limbs all the same.
    const watching = bridge.watch(waitingFilters(bridge), (topic, payload) => {
      waiting.heard(bridge, topic, payload)
      soon()
    })
    await watching.catch(() => undefined)
    soon()
    await ended
  } finally {
    cancel()
    stdout.write(SHOW_CURSOR + FIRST_SCREEN)
  }
}

const PAGE = 10
/** Further than any table goes. */
const FAR = 1_000_000

const KEYS: Readonly<Record<string, number>> = {
  '\x1b[A': -1,
  '\x1bOA': -1,
  k: -1,
  '\x1b[B': 1,
  '\x1bOB': 1,
  j: 1,
  '\x1b[5~': -PAGE,
  b: -PAGE,
  '\x1b[6~': PAGE,
  ' ': PAGE,
  '\x1b[H': -FAR,
  '\x1b[1~': -FAR,
  g: -FAR,
  '\x1b[F': FAR,
  '\x1b[4~': FAR,
  G: FAR,
}
// biome-ignore lint/suspicious/noControlCharactersInRegex: keys of a terminal begin with an escape character.
const KEY = /\x1b[[O]\d*[A-Z~]|[^\x1b]/g
const ENDING_KEYS = ['q', 'Q', '\x03', '\x04']

/** Ends at Ctrl-C or `q`; tells by how many rows other keys move the table. */
function untilEnded(context: CliContext, move: (by: number) => void): Promise<void> {
  const { stdin } = context.io
  return new Promise((resolve) => {
    const end = () => {
      off()
      stdin.off('data', typed)
      if (hasKeys) stdin.setRawMode?.(false)
      if (hasKeys) stdin.pause()
      resolve()
    }
    const typed = (chunk: Buffer | string) => {
      for (const [key] of String(chunk).matchAll(KEY)) {
        if (ENDING_KEYS.includes(key)) return end()
        const by = KEYS[key]
        if (by !== undefined) move(by)
      }
    }
    const off = context.io.onInterrupt(end)
    const hasKeys = stdin.isTTY === true && stdin.setRawMode !== undefined
    if (!hasKeys) return
    // Without it keys come by the line, and are shown. Ctrl-C is a key like any other then.
    stdin.setRawMode?.(true)
    stdin.on('data', typed)
  })
}

interface Screen extends LiveOptions {
  readonly fleet: Fleet
  readonly waiting: Waiting
  readonly connected: boolean
  /** The first row of the table that is shown. */
  readonly top: number
}

function screen(context: CliContext, screen: Screen): { readonly lines: string[]; readonly top: number } {
  const { fleet, waiting, status } = screen
  const width = widthOf(context.io)
  const rows = context.io.stdout.rows || DEFAULT_ROWS
  const nodes = [...fleet.rows.values()]
    .filter((row) => status === undefined || row.status === status)
    .sort((a, b) => (shown(a.nodeId) < shown(b.nodeId) ? -1 : 1))
  const above = waitingLines(waiting.requests.values(), waiting.invocations.values())
  // Head, an empty line, titles, the last line, and one that the cursor stands on.
  const room = Math.max(1, rows - 5 - above.length)
  const top = Math.max(0, Math.min(screen.top, nodes.length - room))
  const visible = nodes.slice(top, top + room)
  const lines = table(nodeColumns(context.clock.wallMs()), visible, width).trimEnd().split('\n')
  const all = [
    headOf(screen, nodes),
    ...above,
    '',
    ...lines,
    ...restOf(top, nodes.length - top - visible.length),
  ]
  return { lines: all.map((line) => clip(line, width)), top }
}

function headOf({ where, fleet, connected, status }: Screen, nodes: readonly DisplayRow[]): string {
  if (!connected) return shown(`${where}: NOT REACHABLE, trying again. What follows is old.`)
  const all = [...fleet.rows.values()]
  const online = all.filter((row) => row.status !== 'offline').length
  const only = status === undefined ? '' : `; ${nodes.length} ${status} below`
  return shown(
    `${where}: ${all.length}${fleet.missed ? '+' : ''} limbs, ${online} online${only}. Ctrl-C ends.`,
  )
}

/** Says what the screen has no room for, and how to get there. */
function restOf(above: number, below: number): string[] {
  if (above === 0 && below === 0) return []
  if (above === 0) return [`… and ${below} more below (arrows, PgUp, PgDn)`]
  return [`… and ${above} more above, ${below} below (arrows, PgUp, PgDn)`]
}
