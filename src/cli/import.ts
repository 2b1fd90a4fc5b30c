import { readFileSync, statSync } from 'node:fs'
import { messageOf } from '../kernel/errors.ts'
import { pathText } from '../protocol/decode.ts'
import { LIMITS } from '../protocol/limits.ts'
import { VERBS } from '../protocol/verbs.ts'
import type { Bridge } from './connection.ts'
import { CliError, usageError } from './exit.ts'
import type { World } from './parts.ts'
import { itemsOf, type Row } from './presentation.ts'
import { readAll } from './questions.ts'
import { print } from './text.ts'

/** `node import FILE.jsonl`: one JSON object a line, as for `node provision`. */

interface Line {
  readonly number: number
  readonly node: unknown
  readonly bytes: number
}

const MAX_FILE_BYTES = 67_108_864
/** Mistakes that are told one by one. */
const MAX_TOLD = 20
/** One request stays well below the bridge's default `mqtt.maxPacketBytes`; each is one transaction. */
const REQUEST_BYTES = 1_000_000

async function textOf(world: World, file: string): Promise<string> {
  if (file === '-') return readAll(world.io, MAX_FILE_BYTES)
  try {
    if (statSync(file).size > MAX_FILE_BYTES) throw new Error(`more than ${MAX_FILE_BYTES} bytes`)
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw usageError(`cannot read ${file}: ${messageOf(error)}`)
  }
}

const nodeSchema = VERBS['node/import'].args.shape.nodes.element

/** What is wrong with a line, or the checked node. */
function readLine(text: string, number: number): Line | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return `line ${number}: not JSON: ${messageOf(error)}`
  }
  const result = nodeSchema.safeParse(value)
  if (result.success)
    return { number, node: result.data, bytes: Buffer.byteLength(JSON.stringify(result.data)) }
  const issue = result.error.issues[0]
  const path = pathText(issue?.path ?? [])
  return `line ${number}: ${path === '' ? '' : `${path}: `}${issue?.message ?? 'does not follow the schema'}`
}

/** Throws CliError that names every bad line (the first twenty). */
export function readLines(text: string): Line[] {
  const lines: Line[] = []
  const problems: string[] = []
  const seen = new Map<unknown, number>()
  for (const [i, raw] of text.split('\n').entries()) {
    if (raw.trim() === '') continue
    const line = readLine(raw, i + 1)
    if (typeof line === 'string') {
      problems.push(line)
      continue
    }
    const nodeId = (line.node as Row).nodeId
    const first = seen.get(nodeId)
    if (first !== undefined)
      problems.push(`line ${line.number}: ${String(nodeId)} stands in line ${first} already`)
    seen.set(nodeId, first ?? line.number)
    lines.push(line)
  }
  if (problems.length > 0) {
    const more = problems.length > MAX_TOLD ? `\n… and ${problems.length - MAX_TOLD} more` : ''
    throw usageError(`nothing was imported:\n${problems.slice(0, MAX_TOLD).join('\n')}${more}`)
  }
  if (lines.length === 0)
    throw usageError('there is no limb in it: one JSON object a line, {"nodeId": "cam1"}')
  return lines
}

function* batches(lines: readonly Line[]): Generator<Line[]> {
  let batch: Line[] = []
  let bytes = 0
  for (const line of lines) {
    if (batch.length > 0 && (bytes + line.bytes > REQUEST_BYTES || batch.length === LIMITS.importNodes)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(line)
    bytes += line.bytes + 1
  }
  if (batch.length > 0) yield batch
}

/** The bridge's answer, with the items of every request in one list. */
export async function importNodes(world: World, bridge: Bridge, file: string): Promise<unknown> {
  const lines = readLines(await textOf(world, file))
  const items: Row[] = []
  for (const batch of batches(lines)) {
    try {
      const data = await bridge.request('node/import', { nodes: batch.map((line) => line.node) })
      items.push(...itemsOf(data))
    } catch (error) {
      throw partly(error, batch, items.length > 0)
    }
  }
  print(world.io.stderr, `${lines.length} limbs imported`)
  return { items }
}

/** What a failed batch means for the lines before it. */
function partly(error: unknown, batch: readonly Line[], before: boolean): unknown {
  const first = batch[0]?.number
  if (!(error instanceof CliError)) return error
  const done = before ? `lines before ${first} were imported, the rest was not` : 'nothing was imported'
  return new CliError(
    error.exitCode,
    `${error.message}; ${done} (request of lines ${first} to ${batch.at(-1)?.number})`,
  )
}
