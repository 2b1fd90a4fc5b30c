import { type Command, Option } from 'commander'
import { iso } from '../../kernel/clock.ts'
import { STATUSES } from '../../protocol/names.ts'
import { connectionOptions, type Run, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import { type Bridge, openBridge } from '../session/session.ts'
import { type ConnectionOptions, targetName, targetOf } from '../session/target.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { type DisplayRow, nodeColumns } from '../terminal/presentation.ts'
import { clip, print, shown, table, widthOf } from '../terminal/text.ts'
import { Fleet, nodeFilters, waitingLines } from './fleet.ts'
import { liveTable } from './watch-screen.ts'

/** `watch`: the limbs, live. A table on a terminal; a line for each change elsewhere. */

interface WatchOptions extends ConnectionOptions, FormatOptions {
  readonly once?: boolean
  readonly status?: string
}

export function addWatchCommand(program: Command, context: CliContext, run: Run): void {
  const command = program
    .command('watch')
    .summary('Watch the limbs, live.')
    .description(
      'Watch the limbs. On a terminal you see a live table, and what waits for you; arrows, PgUp and PgDn move it, q or Ctrl-C ends it. Elsewhere you get one line for each change, with its time.',
    )
    .option('--once', 'print the table once, then end')
    .addOption(new Option('--status <status>', 'only limbs with this status').choices(STATUSES))
  connectionOptions(command)
  withExamples(command, [
    'limb-bridge watch',
    'limb-bridge watch --once',
    'limb-bridge watch --status offline',
    'limb-bridge watch --json | jq .status',
  ])
  command.action(run(() => watch(context, command.opts<WatchOptions>())))
}

async function watch(context: CliContext, options: WatchOptions): Promise<void> {
  const target = await targetOf(context, options)
  const live = options.once !== true
  const output = new Output(context, options)
  const bridge = await openBridge(target, { clock: context.clock, reconnect: live })
  try {
    const { status } = options
    if (!live) await printOnce(context, bridge, output, status)
    else if (context.io.stdout.isTTY && output.isText)
      await liveTable(context, bridge, { where: targetName(target), status })
    else await changeLines(context, bridge, output, status)
  } finally {
    await bridge.close()
  }
}

async function printOnce(
  context: CliContext,
  bridge: Bridge,
  output: Output,
  status: string | undefined,
): Promise<void> {
  const list = await allPages(bridge, 'node/list', status === undefined ? {} : { status })
  const { io, clock } = context
  const waiting = output.isText ? await waitingNow(bridge) : []
  output.answer(list, () => {
    const width = widthOf(io)
    print(io.stdout, table(nodeColumns(clock.wallMs()), list.items, width))
    for (const line of waiting) print(io.stdout, clip(line, width))
  })
}

/** Lists what waits for a person. A principal who may not see it watches the limbs all the same. */
async function waitingNow(bridge: Bridge): Promise<string[]> {
  const itemsOr = (verb: string, args: object) =>
    allPages(bridge, verb, { ...args }).then(
      ({ items }) => items,
      () => [],
    )
  const [requests, invocations] = await Promise.all([
    itemsOr('pairing/list', {}),
    itemsOr('invocation/list', { state: 'waiting' }),
  ])
  return waitingLines(requests, invocations)
}

async function changeLines(
  context: CliContext,
  bridge: Bridge,
  format: Output,
  only: string | undefined,
): Promise<void> {
  const fleet = new Fleet()
  const output = format.rows(humanLine)
  const off = context.io.onInterrupt(() => output.end())
  await bridge.watch(nodeFilters(bridge), (topic, payload) => {
    const change = fleet.heard(bridge, topic, payload)
    if (!change) return
    const { since, nodeId, status } = change
    if (only !== undefined && status !== only) return
    // What was retained may be hours old.
    const at = typeof since === 'string' ? since : iso(context.clock.wallMs())
    void output.write([{ at, nodeId, status }])
  })
  await output.untilEnded()
  off()
  if (output.failure) throw new CliError(EXIT.refused, `cannot write: ${output.failure.message}`)
}

function humanLine(row: DisplayRow): string {
  return Object.values(row).map(shown).join('  ')
}
