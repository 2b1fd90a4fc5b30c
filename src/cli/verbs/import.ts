import { readFileSync, statSync } from 'node:fs'
import { messageOf } from '../../kernel/errors.ts'
import { problemOf } from '../../protocol/decode.ts'
import { fastParse } from '../../protocol/fast-parse.ts'
import { partsIn } from '../../protocol/json-text.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { VERBS } from '../../protocol/verbs.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT, RefusedByBridge, SoftFailure, usageError } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import type { Bridge } from '../session/session.ts'
import type { GrowingList } from '../terminal/growing-list.ts'
import type { Output } from '../terminal/output.ts'
import { type DisplayRow, itemsOf } from '../terminal/presentation.ts'
import { readAll } from '../terminal/questions.ts'
import { type Column, print, shown } from '../terminal/text.ts'
import { entriesOf, type FleetEntry } from './fleet-file.ts'

/** `node import FILE`: limbs as for `node provision`, as JSON Lines, a JSON array or CSV. */

interface Line {
  readonly place: string
  readonly node: { readonly nodeId: string }
  readonly bytes: number
  /** The objects, lists and texts in it, as the bridge counts them. */
  readonly parts: number
}

const MAX_FILE_BYTES = 67_108_864
/** Mistakes that are told one by one. */
const MAX_TOLD = 20
/** The limbs of one request are all imported or none: half of what the bridge takes, so that nobody else waits for long. */
const REQUEST_NODES = 500
/** A request must stay below the default `mqtt.maxPacketBytes`. */
const REQUEST_BYTES = 1_000_000
const REQUEST_PARTS = LIMITS.jsonParts - 100
const GO_ON = 'the same with --skip-paired goes on there'

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
  if (result.success) {
    const json = Buffer.from(JSON.stringify(result.data))
    return { place, node: result.data, bytes: json.length, parts: partsIn(json) }
  }
  const { path, message } = problemOf(result.error)
  return `${place}: ${path === '' ? '' : `${path}: `}${message}`
}

function nothingImported(problems: readonly string[]): string {
  const more = problems.length > MAX_TOLD ? `\n… and ${problems.length - MAX_TOLD} more` : ''
  return `nothing was imported:\n${problems.slice(0, MAX_TOLD).join('\n')}${more}`
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
    const { nodeId } = line.node
    const first = seen.get(nodeId)
    if (first !== undefined) problems.push(`${line.place}: ${nodeId} stands in ${first} already`)
    seen.set(nodeId, first ?? line.place)
    lines.push(line)
  }
  if (problems.length > 0) throw usageError(nothingImported(problems))
  if (lines.length === 0)
    throw usageError(
      'there is no limb in it: one JSON object a line, {"nodeId": "cam1"}, a JSON array, or CSV',
    )
  return lines
}

/** Divides the limbs into requests, in their order. */
function requestsOf(lines: readonly Line[]): Line[][] {
  const requests: Line[][] = []
  let last: Line[] = []
  let bytes = REQUEST_BYTES
  let parts = REQUEST_PARTS
  for (const line of lines) {
    bytes += line.bytes + 1
    parts += line.parts + 1
    if (last.length === REQUEST_NODES || bytes > REQUEST_BYTES || parts > REQUEST_PARTS) {
      last = []
      requests.push(last)
      bytes = line.bytes
      parts = line.parts
    }
    last.push(line)
  }
  return requests
}

async function pairedLimbs(bridge: Bridge): Promise<ReadonlySet<unknown>> {
  const { items } = await allPages(bridge, 'node/list')
  return new Set(items.map(({ nodeId }) => nodeId))
}

/** Looks whether any limb is paired already, before the first of several requests; of one request the bridge says it. */
async function refusePaired(bridge: Bridge, lines: readonly Line[]): Promise<void> {
  const paired = await pairedLimbs(bridge)
  const problems = lines
    .filter(({ node }) => paired.has(node.nodeId))
    .map(({ place, node }) => `${place}: ${node.nodeId} is paired already`)
  if (problems.length === 0) return
  const hint = '--skip-paired leaves out what is paired already, and goes on where an import ended'
  throw new CliError(EXIT.conflict, `${nothingImported(problems)}\n${hint}`)
}

async function withoutPaired(
  context: CliContext,
  bridge: Bridge,
  lines: readonly Line[],
): Promise<readonly Line[]> {
  const paired = await pairedLimbs(bridge)
  const missing = lines.filter(({ node }) => !paired.has(node.nodeId))
  const left = lines.length - missing.length
  if (left > 0) print(context.io.stderr, `${left} limbs are paired already, and left out`)
  return missing
}

/** Says why only a beginning of the limbs was imported. */
interface ImportFault {
  readonly code: string
  readonly message: string
}

/** The keys, which nobody is shown again, stay whole; names of different requests stand below each other. */
function columnsOf(lines: readonly Line[]): Column<DisplayRow>[] {
  const width = lines.reduce((most, { node }) => Math.max(most, node.nodeId.length), 0)
  return [
    { title: 'NODEID', value: ({ nodeId }) => String(nodeId).padEnd(width) },
    { title: 'APIKEY', value: ({ apiKey }) => apiKey },
  ]
}

/**
 * Imports a file: all of it is looked at first, then it is sent in as many requests as it takes, each of which is imported as a
 * whole or not at all. The limbs of each, with the keys that the bridge made, are written as soon as its answer is there: they
 * are not lost when a later one fails or the command is killed. Ctrl-C ends it behind the request that is under way, whose answer
 * has keys that nobody is shown again; a second one does not wait for that. @throws SoftFailure when only a beginning was imported.
 */
export async function importNodes(
  context: CliContext,
  bridge: Bridge,
  file: string,
  skipsPaired: boolean,
  output: Output,
): Promise<void> {
  const all = readFleet(await textOf(context, file))
  const lines = skipsPaired ? await withoutPaired(context, bridge, all) : all
  const requests = requestsOf(lines)
  if (!skipsPaired && requests.length > 1) await refusePaired(bridge, lines)
  const list = output.list(columnsOf(lines))
  const fault = await sendAll(context, bridge, lines, requests, list)
  await list.end(fault === undefined ? {} : { error: fault })
  if (fault !== undefined) throw new SoftFailure(shown(fault.message))
  print(context.io.stderr, `${lines.length} limbs imported`)
}

async function sendAll(
  context: CliContext,
  bridge: Bridge,
  lines: readonly Line[],
  requests: readonly (readonly Line[])[],
  list: GrowingList,
): Promise<ImportFault | undefined> {
  let done = 0
  let isInterrupted = false
  const given = new AbortController()
  const off = context.io.onInterrupt(() => {
    if (isInterrupted) given.abort()
    else
      print(
        context.io.stderr,
        'interrupted: ends with the answer that is due; again, and it is not waited for',
      )
    isInterrupted = true
  })
  try {
    for (const request of requests) {
      if (isInterrupted) return endedAt(done, lines, 'it was interrupted')
      let items: readonly DisplayRow[]
      try {
        const nodes = request.map(({ node }) => node)
        items = itemsOf(await bridge.request('node/import', { nodes }, given.signal))
      } catch (error) {
        if (done === 0) throw error
        return failureOf(error, done, lines, request)
      }
      done += request.length
      await list.add(items)
      if (list.fault !== undefined) return endedAt(done, lines, list.fault)
    }
  } finally {
    off()
  }
  return undefined
}

function endedAt(done: number, lines: readonly Line[], why: string): ImportFault {
  const next = lines[done]
  const rest = next === undefined ? `: ${why}` : `, and from ${next.place} on nothing: ${why}; ${GO_ON}`
  return { code: 'cancelled', message: `${done} of ${lines.length} limbs are imported${rest}` }
}

function failureOf(
  error: unknown,
  done: number,
  lines: readonly Line[],
  request: readonly Line[],
): ImportFault {
  const [from, to] = [request[0]?.place, request.at(-1)?.place]
  const isRefused = error instanceof RefusedByBridge
  const next = isRefused
    ? `from ${from} on nothing was imported`
    : `whether those from ${from} to ${to} are too is not known, for no answer came`
  const lost = isRefused
    ? ''
    : `, but not to the keys that the bridge made for those: \`node rotate-key\` makes others`
  const message = `${done} of ${lines.length} limbs are imported; ${next}: ${messageOf(error)}; ${GO_ON}${lost}`
  return { code: isRefused ? error.body.code : 'unreachable', message }
}
