import { readFileSync, statSync } from 'node:fs'
import { messageOf } from '../../kernel/errors.ts'
import { problemOf } from '../../protocol/decode.ts'
import { fastParse } from '../../protocol/fast-parse.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { VERBS } from '../../protocol/verbs.ts'
import type { CliContext } from '../context.ts'
import { usageError } from '../exit.ts'
import type { Bridge } from '../session/session.ts'
import { type DisplayRow, itemsOf } from '../terminal/presentation.ts'
import { readAll } from '../terminal/questions.ts'
import { print } from '../terminal/text.ts'
import { entriesOf, type FleetEntry } from './fleet-file.ts'

/** `node import FILE`: limbs as for `node provision`, as JSON Lines, a JSON array or CSV. */

interface Line {
  readonly place: string
  readonly node: unknown
  readonly bytes: number
}

const MAX_FILE_BYTES = 67_108_864
/** Mistakes that are told one by one. */
const MAX_TOLD = 20
/**
 * All limbs are one request, so that all are imported or none, and no key that the bridge made is lost half-way.
 * Over the network it must stay below the default `mqtt.maxPacketBytes`; the control socket takes 16 MiB.
 */
const REMOTE_BYTES = 1_000_000
const LOCAL_BYTES = 15_000_000

async function textOf(context: CliContext, file: string): Promise<string> {
  if (file === '-') return readAll(context.io, MAX_FILE_BYTES)
  try {
    if (statSync(file).size > MAX_FILE_BYTES) throw new Error(`more than ${MAX_FILE_BYTES} bytes`)
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw usageError(`cannot read ${file}: ${messageOf(error)}`)
  }
}

const nodeSchema = VERBS['node/import'].args.shape.nodes.element

/** Returns what is wrong with an entry, or the checked node. */
function readEntry({ place, value, problem }: FleetEntry): Line | string {
  if (problem !== undefined) return `${place}: ${problem}`
  const result = fastParse(nodeSchema, value)
  if (result.success)
    return { place, node: result.data, bytes: Buffer.byteLength(JSON.stringify(result.data)) }
  const { path, message } = problemOf(result.error)
  return `${place}: ${path === '' ? '' : `${path}: `}${message}`
}

/** Throws CliError that names every bad entry (the first twenty). */
function readFleet(text: string): Line[] {
  const lines: Line[] = []
  const problems: string[] = []
  const seen = new Map<unknown, string>()
  for (const entry of entriesOf(text)) {
    const line = readEntry(entry)
    if (typeof line === 'string') {
      problems.push(line)
      continue
    }
    const nodeId = (line.node as DisplayRow).nodeId
    const first = seen.get(nodeId)
    if (first !== undefined) problems.push(`${line.place}: ${String(nodeId)} stands in ${first} already`)
    seen.set(nodeId, first ?? line.place)
    lines.push(line)
  }
  if (problems.length > 0) {
    const more = problems.length > MAX_TOLD ? `\n… and ${problems.length - MAX_TOLD} more` : ''
    throw usageError(`nothing was imported:\n${problems.slice(0, MAX_TOLD).join('\n')}${more}`)
  }
  if (lines.length === 0)
    throw usageError(
      'there is no limb in it: one JSON object a line, {"nodeId": "cam1"}, a JSON array, or CSV',
    )
  return lines
}

function checkSize(lines: readonly Line[], local: boolean): void {
  const bytes = lines.reduce((sum, line) => sum + line.bytes + 1, 0)
  const limit = local ? LOCAL_BYTES : REMOTE_BYTES
  const where = local
    ? 'the control socket'
    : '--url (on its own machine the bridge takes fifteen times as much)'
  if (lines.length > LIMITS.importNodes || bytes > limit) {
    throw usageError(
      `nothing was imported: ${lines.length} limbs of ${bytes} bytes are more than one request takes over ${where}: at most ${LIMITS.importNodes} limbs and ${limit} bytes; split the file`,
    )
  }
}

/** The bridge's answer. */
export async function importNodes(context: CliContext, bridge: Bridge, file: string): Promise<unknown> {
  const lines = readFleet(await textOf(context, file))
  checkSize(lines, bridge.local)
  const data = await bridge.request('node/import', { nodes: lines.map((line) => line.node) })
  print(context.io.stderr, `${lines.length} limbs imported`)
  return { items: itemsOf(data) }
}
