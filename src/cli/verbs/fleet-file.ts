import { messageOf } from '../../kernel/errors.ts'
import { parseCsv } from './csv.ts'

/** Reads a file of limbs: JSON Lines, a JSON array, or CSV with a header, told apart by how it begins. */

/** One limb of a file, or what is wrong with its place there. */
export interface FleetEntry {
  /** Its place for people: `line 3`, or `[2]` of an array. */
  readonly place: string
  readonly value?: unknown
  readonly problem?: string
}

export function entriesOf(text: string): FleetEntry[] {
  const bare = text.replace(/^\ufeff/, '')
  const start = bare.trimStart()
  if (start.startsWith('[')) return ofArray(bare)
  if (start === '' || start.startsWith('{')) return ofDocument(bare) ?? ofLines(bare)
  return ofCsv(bare)
}

function ofArray(text: string): FleetEntry[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return [{ place: 'the file', problem: `not JSON: ${messageOf(error)}` }]
  }
  return (Array.isArray(value) ? value : [value]).map((each, i) => ({ place: `[${i}]`, value: each }))
}

/** Reads one object over several lines: one limb, or `{"items": [...]}` around several. */
function ofDocument(text: string): FleetEntry[] | undefined {
  if (!/\n\s*["}]|^\s*\{\s*"(?:items|nodes)"/.test(text)) return undefined
  try {
    const value: Record<string, unknown> = JSON.parse(text)
    const several = value.items ?? value.nodes
    const all = Array.isArray(several) ? several : [value]
    return all.map((each, i) => ({ place: `[${i}]`, value: each }))
  } catch {
    return undefined
  }
}

function ofLines(text: string): FleetEntry[] {
  return text.split('\n').flatMap((raw, i): FleetEntry[] => {
    if (raw.trim() === '') return []
    const place = `line ${i + 1}`
    try {
      return [{ place, value: JSON.parse(raw) }]
    } catch (error) {
      return [{ place, problem: `not JSON: ${messageOf(error)}` }]
    }
  })
}

/** The keys of numbers; every other cell is a text. */
const NUMBERS = ['heartbeatSeconds', 'timeoutSeconds']

function ofCsv(text: string): FleetEntry[] {
  const parsed = parseCsv(text)
  if (typeof parsed === 'string') return [{ place: 'the file', problem: parsed }]
  const [header, ...rows] = parsed
  const keys = (header?.cells ?? []).map((cell) => cell.trim())
  if (!keys.includes('nodeId')) {
    const problem =
      'neither JSON nor CSV: the first line of CSV names the columns, and one of them is nodeId; see `limb-bridge node export --format csv`'
    return [{ place: 'line 1', problem }]
  }
  return rows.map(({ line, cells }) => {
    const place = `line ${line}`
    if (cells.length > keys.length)
      return { place, problem: `has ${cells.length} cells, and the header has ${keys.length} columns` }
    try {
      const entries = keys.flatMap((key, i) => cellOf(key, cells[i] ?? ''))
      return { place, value: Object.fromEntries(entries) }
    } catch (error) {
      return { place, problem: messageOf(error) }
    }
  })
}

/** An empty cell is an option that is not set. */
function cellOf(key: string, cell: string): [string, unknown][] {
  const text = cell.trim().replace(SHIELD, '')
  if (text === '') return []
  if (key === 'capabilities') return [[key, capabilitiesIn(text)]]
  return [[key, NUMBERS.includes(key) && /^\d{1,15}$/.test(text) ? Number(text) : text]]
}

/** Spreadsheets run what begins with these; `node export` puts an apostrophe before it. */
const SHIELD = /^'(?=[=+\-@\t\r])/

/** `camera:leased:camera.snap camera.clip; sensor:free`, or JSON as in the other forms. */
function capabilitiesIn(text: string): unknown {
  if (text.startsWith('[')) {
    try {
      return JSON.parse(text)
    } catch (error) {
      throw new Error(`capabilities: not JSON: ${messageOf(error)}`)
    }
  }
  return text
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => {
      const [cap = '', authLevel = '', commands = ''] = part.split(':').map((each) => each.trim())
      return { cap, authLevel, commands: commands.split(/\s+/).filter((command) => command !== '') }
    })
}

const MUST_SHIELD = /^'?[=+\-@\t\r]/

/** Makes a cell that `cellOf` reads as the same text, and that no spreadsheet runs: a device chose it. */
export function shieldedCell(text: string): string {
  return MUST_SHIELD.test(text) ? `'${text}` : text
}
