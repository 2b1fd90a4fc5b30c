import { escapeJson } from '../../kernel/escape-text.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT, RefusedByBridge, usageError } from '../exit.ts'
import { pagesOf } from '../session/paging.ts'
import { type Bridge, openBridge } from '../session/session.ts'
import { type ConnectionOptions, targetOf } from '../session/target.ts'
import type { LineOutput } from '../terminal/line-output.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { asRow, type DisplayRow, itemsOf } from '../terminal/presentation.ts'
import { print, shown } from '../terminal/text.ts'

/** `audit list --follow` and `--jsonl`: the audit log line by line, as it comes. */

export interface AuditOptions extends ConnectionOptions, FormatOptions {
  readonly follow?: boolean
  readonly all?: boolean
}

const POLL_MS = 1000

export function isLineByLine(options: AuditOptions): boolean {
  return options.follow === true || options.jsonl === true
}

export async function auditLines(
  context: CliContext,
  options: AuditOptions,
  args: DisplayRow,
): Promise<void> {
  const format = new Output(context, options)
  format.refuseDocument()
  if (options.follow) checkFollowed(args)
  const target = await targetOf(context, options)
  const follow = options.follow === true
  const isWhole = options.all === true || (format.isJsonLines && args.limit === undefined)
  const bridge = await openBridge(target, { clock: context.clock, reconnect: follow })
  const output = format.rows(humanLine)
  try {
    if (!follow) await exportPages(bridge, output, args)
    else await untilInterrupted(context, output, () => followLog(context, bridge, output, isWhole, args))
  } catch (error) {
    // Whoever read has seen enough, or Ctrl-C came in the middle of a request: an end, not a failure.
    if (!output.ended) throw error
  } finally {
    await bridge.close()
  }
  if (output.failure) throw new CliError(EXIT.refused, `cannot write: ${output.failure.message}`)
}

function checkFollowed(args: DisplayRow): void {
  if (args.order !== undefined) throw usageError('--order: with --follow the oldest comes first')
  if (args.until !== undefined) throw usageError('--until: what is still to come has no end')
}

/** Writes `17  2026-01-01T12:00:00.000Z  invocation.ended  done  ann  robot1  command=arm.move ms=12`. */
function humanLine(row: DisplayRow): string {
  const detail = Object.entries(asRow(row.detail ?? {})).map(
    ([key, value]) => `${shown(key)}=${readable(value)}`,
  )
  const { seq, at, kind, outcome, actor, nodeId } = row
  return [seq, at, kind, outcome, actor, nodeId ?? '-']
    .map(shown)
    .concat(detail.length === 0 ? [] : detail.join(' '))
    .join('  ')
}

/** Writes a value, as JSON where it could be taken for two things. */
function readable(value: unknown): string {
  if (typeof value === 'string' && /^[^\s"=]+$/.test(value)) return shown(value)
  return escapeJson(JSON.stringify(value) ?? '')
}

/** Exports as many as the limit says, else all; never more than one page in memory. */
async function exportPages(bridge: Bridge, output: LineOutput, args: DisplayRow): Promise<void> {
  let left = Number(args.limit ?? Infinity)
  const pages = pagesOf(bridge, 'audit/list', { limit: LIMITS.listMax, ...args })
  for await (const page of pages) {
    const items = page.items.slice(0, left)
    await output.write(items)
    left -= items.length
    if (output.ended || left === 0) return
  }
}

async function untilInterrupted(
  context: CliContext,
  output: LineOutput,
  work: () => Promise<void>,
): Promise<void> {
  const off = context.io.onInterrupt(() => output.end())
  try {
    await work()
  } finally {
    off()
  }
}

async function followLog(
  context: CliContext,
  bridge: Bridge,
  output: LineOutput,
  isWhole: boolean,
  args: DisplayRow,
): Promise<void> {
  const { limit, after, ...filter } = args
  let cursor = typeof after === 'string' ? after : undefined
  if (!isWhole && cursor === undefined) {
    cursor = await newestFirst(bridge, output, filter, Number(limit ?? LIMITS.listDefault))
  }
  const connection = connectionNews(context)
  while (!output.ended) {
    try {
      const page = await pageAfter(bridge, output, filter, cursor)
      connection.back()
      await output.write(itemsOf(page))
      const before = cursor
      cursor = cursorAfter(page) ?? cursor
      if (page.next !== undefined && cursor !== before) continue
    } catch (error) {
      if (output.ended) return
      if (!passes(error)) throw error
      connection.lost(error)
    }
    await pause(context, output.signal)
  }
}

/** Shows the newest entries in the order in which they came; resolves with where to go on. */
async function newestFirst(
  bridge: Bridge,
  output: LineOutput,
  filter: DisplayRow,
  limit: number,
): Promise<string | undefined> {
  // Asked before: an entry that comes between the two requests is shown by one of them, and by one alone.
  const head = itemsOf(await bridge.request('audit/list', { limit: 1 }, output.signal))[0]
  const rows: DisplayRow[] = []
  for await (const page of pagesOf(bridge, 'audit/list', { ...filter, limit })) {
    rows.push(...page.items)
    if (rows.length >= limit || output.ended) break
  }
  const newest = rows.slice(0, limit)
  const seqs = [head, newest[0]].map((row) => Number(row?.seq ?? 0))
  await output.write(newest.reverse())
  const last = Math.max(...seqs)
  return last > 0 ? String(last) : undefined
}

async function pageAfter(
  bridge: Bridge,
  output: LineOutput,
  filter: DisplayRow,
  cursor: string | undefined,
): Promise<DisplayRow> {
  const args = { ...filter, order: 'oldest', limit: LIMITS.listMax }
  return asRow(
    await bridge.request(
      'audit/list',
      cursor === undefined ? args : { ...args, after: cursor },
      output.signal,
    ),
  )
}

function cursorAfter(page: DisplayRow): string | undefined {
  if (typeof page.next === 'string') return page.next
  const seq = itemsOf(page).at(-1)?.seq
  return typeof seq === 'number' ? String(seq) : undefined
}

/** Returns whether to try again: reading twice harms nobody. */
function passes(error: unknown): boolean {
  if (error instanceof RefusedByBridge) {
    return ['storage_unavailable', 'too_many_requests', 'internal'].includes(error.body.code)
  }
  return error instanceof CliError && error.exitCode === EXIT.unreachable
}

/** Says once that it is gone, and once that it is back. */
function connectionNews({ io }: CliContext) {
  let gone = false
  return {
    lost(error: unknown) {
      if (gone) return
      gone = true
      const why = error instanceof RefusedByBridge ? shown(error.message) : 'no connection to the bridge'
      print(io.stderr, `${why}; trying again, and going on where it was.`)
    },
    back() {
      if (gone) print(io.stderr, 'The bridge answers again.')
      gone = false
    },
  }
}

function pause({ clock }: CliContext, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.after(POLL_MS, done)
    if (signal.aborted) done()
    else signal.addEventListener('abort', done)
  })
}
