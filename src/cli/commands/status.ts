import type { Command } from 'commander'
import { connectionOptions, type Run, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT, StandbyBridge } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import { type Bridge, openBridge } from '../session/session.ts'
import { type ConnectionOptions, targetName, targetOf } from '../session/target.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { asRow, type DisplayRow } from '../terminal/presentation.ts'
import { requestsText } from '../terminal/requests.ts'
import { age, pairs, print, shown, widthOf, wrapped } from '../terminal/text.ts'

/** `status`: the bridge in a few lines, whether it is ready or why not, and who waits for approval. */

type StatusOptions = ConnectionOptions & FormatOptions

/** Retained messages come right after SUBACK. */
const INFO_SECONDS = 5

export function addStatusCommand(program: Command, context: CliContext, run: Run): void {
  const command = program
    .command('status')
    .summary('Show whether the bridge is ready, what it counts, and what waits for you.')
    .description(
      'Show whether the bridge is ready or why not, what it counts, and what waits for you. The exit code is 1 when it is not ready.',
    )
  connectionOptions(command)
  withExamples(command, ['limb-bridge status', 'limb-bridge status --json'])
  command.action(run(() => status(context, command.opts<StatusOptions>())))
}

async function status(context: CliContext, options: StatusOptions): Promise<number> {
  const target = await targetOf(context, options)
  let bridge: Bridge
  try {
    bridge = await openBridge(target, { clock: context.clock })
  } catch (error) {
    if (!(error instanceof StandbyBridge)) throw error
    return standbyStatus(context, options, targetName(target), error.text)
  }
  try {
    const [info, health, pending] = await Promise.all([
      bridgeInfo(context, bridge),
      bridge.request('bridge/health', {}).then(asRow),
      allPages(bridge, 'pairing/list'),
    ])
    new Output(context, options).answer({ ...info, health, pending: pending.items }, () =>
      printStatus(context, targetName(target), { ...info, health }, pending.items),
    )
    return health.ready === true ? EXIT.ok : EXIT.refused
  } finally {
    await bridge.close()
  }
}

/** A bridge that waits knows nothing but who leads. */
function standbyStatus(context: CliContext, options: StatusOptions, where: string, text: string): number {
  const answer = { standby: text, health: { ready: false, reasons: [text] } }
  new Output(context, options).answer(answer, () =>
    print(
      context.io.stdout,
      pairs([
        ['bridge', where],
        ['ready', `NO; ${shown(text)}`],
      ]),
    ),
  )
  return EXIT.refused
}

function bridgeInfo(context: CliContext, bridge: Bridge): Promise<DisplayRow> {
  return new Promise((resolve, reject) => {
    const cancel = context.clock.after(INFO_SECONDS * 1000, () =>
      reject(new CliError(EXIT.unreachable, `the bridge said nothing on ${bridge.topics.bridgeInfo}`)),
    )
    const onMessage = (_topic: string, payload: Buffer) => {
      cancel()
      try {
        resolve(asRow(JSON.parse(payload.toString('utf8'))))
      } catch (error) {
        reject(error)
      }
    }
    bridge.watch([bridge.topics.bridgeInfo], onMessage).catch((error: unknown) => {
      cancel()
      reject(error)
    })
  })
}

function windowText(value: unknown, nowMs: number): string {
  if (value === undefined) return 'closed'
  const { until, max, nodeId } = asRow(value)
  const limits = [
    max === undefined ? '' : `${shown(max)} more limbs`,
    nodeId === undefined ? '' : `for ${shown(nodeId)} only`,
  ].filter((text) => text !== '')
  return ['OPEN', `closes ${age(until, nowMs)}`, ...limits].join(', ')
}

function readyText({ ready, reasons }: DisplayRow): string {
  if (ready === true) return 'yes'
  return ['NO', ...(Array.isArray(reasons) ? reasons.map(shown) : [])].join('; ')
}

function leadRow(lead: unknown, nowMs: number): [string, string][] {
  if (lead === undefined) return []
  const { name, since } = asRow(lead)
  return [['leads', `${shown(name)}, ${age(since, nowMs)}`]]
}

function uplinksText(uplinks: unknown): string {
  if (!Array.isArray(uplinks) || uplinks.length === 0) return 'none'
  return uplinks
    .map(asRow)
    .map(({ name, connected }) => `${shown(name)} ${connected === true ? 'up' : 'DOWN'}`)
    .join(', ')
}

function printStatus(
  context: CliContext,
  where: string,
  info: DisplayRow,
  pending: readonly DisplayRow[],
): void {
  const { stdout } = context.io
  const nowMs = context.clock.wallMs()
  const nodes = asRow(info.nodes)
  const health = asRow(info.health)
  print(
    stdout,
    pairs([
      ['bridge', where],
      ['ready', readyText(health)],
      ['version', `${shown(info.version)}, protocol ${shown(info.protocol)}`],
      ...leadRow(health.lead, nowMs),
      ['started', age(info.startedAt, nowMs)],
      ['limbs', `${shown(nodes.approved)} approved, ${shown(nodes.online)} online`],
      ['pending', shown(health.pendingRequests)],
      ['waiting invocations', shown(health.waitingCalls)],
      ['pairing window', windowText(info.pairingWindow, nowMs)],
      ['uplinks', uplinksText(health.uplinks)],
      ['last backup', age(health.lastBackupAt, nowMs) || 'none'],
    ]),
  )
  for (const text of Array.isArray(health.warnings) ? health.warnings : [])
    print(stdout, `\nWARNING: ${shown(text)}`)
  if (Number(health.waitingCalls) > 0)
    print(stdout, '\nInvocations wait for a decision: limb-bridge invocation approve')
  if (pending.length === 0) return
  print(stdout, `\n${requestsText(pending, { nowMs, width: widthOf(context.io) })}`)
  const next = 'Compare the code with the device, then: limb-bridge pairing approve'
  print(stdout, wrapped(next, widthOf(context.io)).join('\n'))
}
