import type { Command } from 'commander'
import { iso } from '../../kernel/clock.ts'
import { connectionOptions, type Run, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import { type Bridge, openBridge } from '../session/session.ts'
import { type ConnectionOptions, targetName, targetOf } from '../session/target.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { asRow, type DisplayRow, nodeColumns } from '../terminal/presentation.ts'
import { clip, print, shown, table, widthOf } from '../terminal/text.ts'

/** `watch`: the limbs, live. A table on a terminal; a line for each change elsewhere. */

interface WatchOptions extends ConnectionOptions, FormatOptions {
  readonly once?: boolean
}

/** Limbs that are followed; nobody reads more, and memory has an end. */
const MAX_NODES = 20_000
/** Ages move on, and many changes are one redraw. */
const REDRAW_MS = 250
const TICK_MS = 1000

export function addWatchCommand(program: Command, world: CliContext, run: Run): void {
  const command = program
    .command('watch')
    .summary('Watch the limbs, live.')
    .description(
      'Watch the limbs: a live table on a terminal, a line for each change elsewhere, with the time of the change. Ctrl-C ends it.',
    )
    .option('--once', 'print the table once and end')
  connectionOptions(command)
  withExamples(command, [
    'limb-bridge watch',
    'limb-bridge watch --once',
    'limb-bridge watch --json | jq .status',
  ])
  command.action(run(() => watch(world, command.opts<WatchOptions>())))
}

async function watch(world: CliContext, options: WatchOptions): Promise<void> {
  const target = await targetOf(world, options)
  const live = options.once !== true
  const output = new Output(world, options)
  const bridge = await openBridge(target, { clock: world.clock, reconnect: live })
  try {
    if (!live) await printOnce(world, bridge, output)
    else if (world.io.stdout.isTTY && output.isText) await liveTable(world, bridge, targetName(target))
    else await changeLines(world, bridge, output)
  } finally {
    await bridge.close()
  }
}

async function printOnce(world: CliContext, bridge: Bridge, output: Output): Promise<void> {
  const list = await allPages(bridge, 'node/list')
  const { io, clock } = world
  output.answer(list, () => print(io.stdout, table(nodeColumns(clock.wallMs()), list.items, widthOf(io))))
}

/** `state` says all of it, `status` that something changed; both are retained. The one that knows since when comes first. */
function nodeFilters(bridge: Bridge): string[] {
  return [bridge.topics.node('+', 'state'), bridge.topics.node('+', 'status')]
}

function parsed(payload: Buffer): DisplayRow {
  try {
    return asRow(JSON.parse(payload.toString('utf8')))
  } catch {
    return {}
  }
}

/** Ends at Ctrl-C. */
function untilInterrupted(world: CliContext): Promise<void> {
  return new Promise((resolve) => {
    const off = world.io.onInterrupt(() => {
      off()
      resolve()
    })
  })
}

interface Change {
  readonly nodeId: string
  readonly status: unknown
  /** The time at which it came about, if that is known. */
  readonly since?: unknown
}

/** The limbs as they were last heard of. */
class Fleet {
  readonly rows = new Map<string, DisplayRow>()
  /** Limbs beyond the bound. */
  missed = false

  /** Returns what is new, if the limb's status is another than before. */
  heard(bridge: Bridge, topic: string, payload: Buffer): Change | undefined {
    const address = bridge.topics.parse(topic)
    if (address?.kind !== 'node') return undefined
    const { nodeId } = address
    const before = this.rows.get(nodeId)
    if (payload.length === 0) {
      this.rows.delete(nodeId)
      return before && { nodeId, status: 'removed' }
    }
    if (!before && this.rows.size >= MAX_NODES) {
      this.missed = true
      return undefined
    }
    const news: DisplayRow =
      address.leaf === 'status' ? { status: payload.toString('utf8') } : { ...parsed(payload), nodeId }
    const row: DisplayRow = { ...before, nodeId, ...news }
    this.rows.set(nodeId, row)
    if (row.status === before?.status) return undefined
    return { nodeId, status: row.status, since: news.since }
  }
}

async function changeLines(world: CliContext, bridge: Bridge, format: Output): Promise<void> {
  const fleet = new Fleet()
  const output = format.rows(humanLine)
  const off = world.io.onInterrupt(() => output.end())
  await bridge.watch(nodeFilters(bridge), (topic, payload) => {
    const change = fleet.heard(bridge, topic, payload)
    if (!change) return
    const { since, nodeId, status } = change
    // What was retained may be hours old.
    const at = typeof since === 'string' ? since : iso(world.clock.wallMs())
    void output.write([{ at, nodeId, status }])
  })
  await output.untilEnded()
  off()
  if (output.failure) throw new CliError(EXIT.refused, `cannot write: ${output.failure.message}`)
}

function humanLine(row: DisplayRow): string {
  return Object.values(row).map(shown).join('  ')
}

/** Some terminals (a serial line) say that they have no size, which is 0. */
const DEFAULT_COLUMNS = 80
const DEFAULT_ROWS = 24

const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'
const OTHER_SCREEN = '\x1b[?1049h'
const FIRST_SCREEN = '\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'

async function liveTable(world: CliContext, bridge: Bridge, where: string): Promise<void> {
  const { stdout } = world.io
  const fleet = new Fleet()
  let connected = true
  let cancel = () => {}
  let due = false

  const draw = () => {
    due = false
    stdout.write(
      HOME +
        screen(world, fleet, connected, where)
          .map((line) => `${line}${CLEAR_LINE}\n`)
          .join('') +
        CLEAR_BELOW,
    )
    schedule(TICK_MS)
  }
  const schedule = (ms: number) => {
    cancel()
    cancel = world.clock.after(ms, draw)
  }
  const soon = () => {
    if (due) return
    due = true
    schedule(REDRAW_MS)
  }

  const ended = untilInterrupted(world)
  bridge.onConnection((now) => {
    // What was retained comes again after a reconnect; what is gone meanwhile does not.
    if (now) fleet.rows.clear()
    connected = now
    soon()
  })
  stdout.write(OTHER_SCREEN + HIDE_CURSOR)
  try {
    await bridge.watch(nodeFilters(bridge), (topic, payload) => {
      fleet.heard(bridge, topic, payload)
      soon()
    })
    soon()
    await ended
  } finally {
    cancel()
    stdout.write(SHOW_CURSOR + FIRST_SCREEN)
  }
}

function screen(world: CliContext, fleet: Fleet, connected: boolean, where: string): string[] {
  const columns = world.io.stdout.columns || DEFAULT_COLUMNS
  const rows = world.io.stdout.rows || DEFAULT_ROWS
  const nodes = [...fleet.rows.values()].sort((a, b) => (shown(a.nodeId) < shown(b.nodeId) ? -1 : 1))
  const online = nodes.filter((row) => row.status !== 'offline').length
  const head = connected
    ? `${where}: ${nodes.length}${fleet.missed ? '+' : ''} limbs, ${online} online. Ctrl-C ends.`
    : `${where}: NOT REACHABLE, trying again. What follows is old.`
  // Head, an empty line, titles, the last line, and one that the cursor stands on.
  const room = Math.max(1, rows - 5)
  const lines = table(nodeColumns(world.clock.wallMs()), nodes.slice(0, room)).trimEnd().split('\n')
  const more = nodes.length > room ? [`… and ${nodes.length - room} more`] : []
  return [shown(head), '', ...lines, ...more].map((line) => clip(line, columns))
}
