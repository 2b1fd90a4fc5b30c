import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ERROR_CODES } from '../src/kernel/errors.ts'
import { EVENTS } from '../src/protocol/events.ts'
import { LIMITS } from '../src/protocol/limits.ts'
import { CAPABILITY_PATTERN, NAME_PATTERN } from '../src/protocol/names.ts'
import { VERBS } from '../src/protocol/verbs.ts'
import { type JsonSchema, jsonSchemas, pascal, verbNames } from './asyncapi-schemas.ts'

/** The tables of docs/protocol/reference.md that are made from the code; each stands between two markers. */

const FILE = join(import.meta.dirname, '../docs/protocol/reference.md')

const schemas = jsonSchemas()

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

interface Described extends JsonSchema {
  type?: string
  description?: string
  properties?: Record<string, Described>
  required?: string[]
  anyOf?: Described[]
  items?: Described
  enum?: string[]
  const?: unknown
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  minItems?: number
  maxItems?: number
  $ref?: string
}

function bounds(min: number | undefined, max: number | undefined, unit: string): string {
  if (min === undefined) return max === undefined ? '' : `, at most ${max}${unit}`
  return max === undefined ? `, at least ${min}${unit}` : `, ${min} to ${max}${unit}`
}

/** What may stand there, in a few words. */
function typeText(schema: Described): string {
  if (schema.$ref !== undefined)
    return schema.$ref
      .replace(/.*\//, '')
      .replace(/(?<!^)[A-Z]/g, ' $&')
      .toLowerCase()
  if (schema.anyOf) return schema.anyOf.map(typeText).join(' or ')
  if (schema.const !== undefined) return `\`${String(schema.const)}\``
  if (schema.enum) return schema.enum.map((choice) => `\`${choice}\``).join(', ')
  if (schema.pattern === NAME_PATTERN.source) return 'a name'
  if (schema.pattern === CAPABILITY_PATTERN.source) return 'a capability'
  switch (schema.type) {
    case 'integer':
      return `a whole number${bounds(schema.minimum, schema.maximum, '')}`
    case 'string':
      return `text${bounds(schema.minLength, schema.maxLength, ' characters')}`
    case 'boolean':
      return '`true` or `false`'
    case 'array':
      return `a list${bounds(schema.minItems, schema.maxItems, ' items')}`
    case undefined:
      return 'any JSON'
    default:
      return 'an object'
  }
}

function fieldsOf(schema: Described | undefined, without: readonly string[]): string[] {
  const required = new Set(schema?.required ?? [])
  return Object.entries(schema?.properties ?? {})
    .filter(([key]) => !without.includes(key))
    .map(([key, field]) => {
      const meaning = field.description === undefined ? '' : `: ${field.description}`
      return `\`${key}${required.has(key) ? '' : '?'}\` (${typeText(field)})${meaning}`
    })
}

/** Paging is the same for all lists, and told once above the table. */
function argumentsText(request: Described | undefined): string {
  const pages = request?.properties?.after !== undefined
  const own = fieldsOf(request, pages ? ['transaction', 'limit', 'after'] : ['transaction'])
  return [...(pages ? ['`limit?`, `after?`'] : []), ...own].join('<br>') || 'none'
}

/** `{nodeId, apiKey?}`; a page is named by its items. */
function answerText(schema: Described | undefined): string {
  const items = schema?.properties?.items?.items
  if (items) return `\`{items: [${shape(items)}]${schema?.properties?.next ? ', next?' : ''}}\``
  return `\`${shape(schema ?? {})}\``
}

function shape(schema: Described): string {
  if (schema.$ref === '#/components/schemas/State') return 'state'
  if (schema.$ref === '#/components/schemas/PendingRequest') return 'request'
  const required = new Set(schema.required ?? [])
  const keys = Object.keys(schema.properties ?? {}).map((key) => (required.has(key) ? key : `${key}?`))
  return `{${keys.join(', ')}}`
}

function verbsTable(): string {
  const rows = verbNames.map((verb) => {
    const { role, summary } = VERBS[verb]
    const request = schemas[`${pascal(verb)}Request`] as Described | undefined
    const response = schemas[`${pascal(verb)}Response`] as Described | undefined
    return [`\`${verb}\``, role, summary, argumentsText(request), answerText(response?.properties?.data)]
  })
  return table(['verb', 'role', 'what it does', 'arguments', '`data` of the response'], rows)
}

function eventsTable(): string {
  const rows = Object.entries(EVENTS).map(([kind, { summary }]) => {
    const schema = schemas[`Event${pascal(kind)}`] as Described | undefined
    return [`\`${kind}\``, summary, fieldsOf(schema, ['kind', 'at']).join('<br>')]
  })
  return table(['kind', 'when', 'fields'], rows)
}

function errorsTable(): string {
  return table(
    ['code', 'meaning'],
    Object.entries(ERROR_CODES).map(([code, meaning]) => [`\`${code}\``, meaning]),
  )
}

/** What each limit is a limit of. */
const LIMIT_TEXTS: Readonly<Record<keyof typeof LIMITS, string>> = {
  displayNameChars: 'characters of a `displayName`',
  platformChars: 'characters of a `platform`',
  firmwareChars: 'characters of a `firmware`',
  urlChars: 'characters of an `endpointUrl`',
  capabilities: 'capabilities of a limb',
  commandsPerCapability: 'commands of a capability',
  heartbeatBytes: 'bytes of a heartbeat',
  metrics: 'metrics of a heartbeat',
  metricNameChars: 'characters of the name of a metric',
  registrationBytes: 'bytes of a registration',
  candidateRegistrationBytes: 'the `register` payload of a device that nobody has approved yet, bytes',
  heartbeatSecondsMin: 'shortest `heartbeatSeconds`',
  heartbeatSecondsMax: 'longest `heartbeatSeconds`',
  timeoutSecondsMax: 'longest `timeoutSeconds`',
  descriptionBytes: 'bytes of a description, as JSON',
  helpChars: 'characters of a `description` of a device, a command or a property',
  unitChars: 'characters of a `unit`',
  properties: 'properties of a limb',
  describedCommands: 'commands of a limb that are described',
  propertyTopicChars: 'characters of the `topic` of a property',
  schemaEntries: 'properties, required keys or choices of one schema',
  schemaDepth: 'levels of a schema',
  availabilityWordChars: 'characters of the words of an availability topic',
  adapterEntities: 'things of one limb that are read from foreign firmware',
  adapterBytes: 'characters of JSON of what is read from foreign firmware, for one limb',
  keyCharsMin: 'fewest characters of a key of its own',
  keyCharsMax: 'most characters of a key',
  passwordCharsMin: 'fewest characters of a password',
  passwordCharsMax: 'most characters of a password',
  tokensPerPrincipal: 'tokens of one principal',
  tokenNameChars: 'characters of the name of a token',
  tokenDaysMax: 'days that a token may hold',
  transactionChars: 'characters of a `transaction`',
  listDefault: 'items of a list without `limit`',
  listMax: 'greatest `limit`',
  permitSecondsMax: 'longest pairing window, seconds',
  permitNodesMax: 'greatest `max` of a pairing window',
  historyRowsPerNode: 'changes of status that are kept of one limb',
  importNodes: 'nodes of one `node/import`',
  reasonChars: 'characters of a `reason`',
  paramsBytes: 'bytes of `params`, as JSON',
  resultBytes: 'bytes of a `result`',
  jsonDepth: 'levels of `params` and of `data`',
  offlineWaitSecondsMax: 'longest `offlineWaitSeconds`',
  invokeSecondsMax: 'longest `timeoutSeconds` and `waitSeconds`',
  leaseSecondsMax: 'longest `ttlSeconds`',
  idempotencyKeyChars: 'characters of an `idempotencyKey`',
  jsonParts: 'objects, lists and texts (keys too) of one message, ten numbers being as one',
  nodeErrorChars: "characters of a limb's error that the caller is told",
  shownParamsBytes: 'bytes of params that an approval shows whole',
}

function limitsTable(): string {
  const rows = Object.entries(LIMIT_TEXTS).map(([key, text]) => [
    text,
    String(LIMITS[key as keyof typeof LIMITS]),
  ])
  return table(['what', 'limit'], rows)
}

const BLOCKS: Readonly<Record<string, () => string>> = {
  verbs: verbsTable,
  errors: errorsTable,
  events: eventsTable,
  limits: limitsTable,
}

/** The page as it stands, with its tables made anew. Throws when a marker is missing. */
export function protocolReferenceMarkdown(): string {
  let page = readFileSync(FILE, 'utf8')
  for (const [name, make] of Object.entries(BLOCKS)) {
    const start = `<!-- ${name}: made by \`npm run docs\` -->\n`
    const end = `<!-- /${name} -->`
    const from = page.indexOf(start)
    const to = page.indexOf(end)
    if (from < 0 || to < from) throw new Error(`docs/protocol/reference.md has lost its markers for ${name}`)
    page = `${page.slice(0, from + start.length)}\n${make()}\n\n${page.slice(to)}`
  }
  return page
}
