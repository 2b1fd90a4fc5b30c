/** Templates for Home Assistant, in Jinja. Every text of a device is put in as a text of Jinja, never as a part of it. */

/** Writes a text as Jinja does. */
export function jinjaText(text: string): string {
  return `'${text.replaceAll(/[\\'{}%#]/g, (char) => `\\x${char.charCodeAt(0).toString(16)}`)}'`
}

/** The place of a value in a message; without a pointer it is the whole payload. */
export interface ValueAt {
  readonly pointer?: string | undefined
}

/** Returns the expression of a value by its JSON pointer; what is not there is undefined, never an error. */
function pointed(pointer: string): string {
  const keys = pointer.split('/').slice(1)
  return keys.reduce((inside, key) => `(${inside} | default({}, true))[${jinjaKey(key)}]`, 'value_json')
}

function jinjaKey(key: string): string {
  return /^(0|[1-9][0-9]{0,5})$/.test(key) ? key : jinjaText(key.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** Returns the expression of a value that is a word or a number; a payload may be JSON or the bare word. */
function expressionOf({ pointer }: ValueAt): string {
  if (pointer !== undefined && pointer !== '') return pointed(pointer)
  return '(value_json if value_json is string else value)'
}

/** `None` is Home Assistant's word for a value that is not known. */
export function numberTemplate(at: ValueAt): string {
  return `{{ ${expressionOf(at)} | default('None') }}`
}

/** Home Assistant keeps 255 characters of a state. */
export function textTemplate(at: ValueAt): string {
  return `{{ ${expressionOf(at)} | default('None') | string | truncate(255, True, '', 0) }}`
}

const TRUE = "['true', 'on', '1', 'yes']"

/** Turns `true`, `on` and `1` into the first word and everything else into the second. */
export function booleanTemplate(at: ValueAt, yes: string, no: string): string {
  const value = `(${expressionOf(at)} | string | lower)`
  return `{{ 'None' if ${value} in ['', 'none'] else ${jinjaText(yes)} if ${value} in ${TRUE} else ${jinjaText(no)} }}`
}

/** Turns each word of the map into another one, and what is not in it into `None`. */
export function wordTemplate(at: ValueAt, words: Readonly<Record<string, string>>): string {
  const map = Object.entries(words).map(([from, to]) => `${jinjaText(from)}: ${jinjaText(to)}`)
  return `{{ {${map.join(', ')}}.get(${expressionOf(at)} | default('') | string, 'None') }}`
}

/** A value above zero is on. */
export function aboveZeroTemplate(at: ValueAt, off: string): string {
  return `{{ 'ON' if (${expressionOf(at)} | float(0)) > 0 else ${jinjaText(off)} }}`
}

/** An event of Home Assistant's is a JSON object that names its type. */
export function eventTemplate(at: ValueAt): string {
  return `{{ {'event_type': ${expressionOf(at)} | default('') | string} | tojson }}`
}

/** Turns `#ff8800` into `255,136,0`. */
export function colorTemplate(at: ValueAt): string {
  const hex = `(${expressionOf(at)} | default('#000000') | string)`
  const part = (from: number) => `(${hex}[${from}:${from + 2}] | int(0, 16))`
  return `{{ ${part(1)} ~ ',' ~ ${part(3)} ~ ',' ~ ${part(5)} }}`
}

/** Is an invocation as a payload of the request topic. */
export interface InvocationPayload {
  readonly nodeId: string
  readonly command: string
  readonly params: Readonly<Record<string, unknown>>
}

/** A text that no JSON holds as it is. */
const HOLE = '\u0000hole'

/** Returns the payload of an invocation; `value` is an expression of Jinja that yields JSON. */
export function invocationTemplate(
  { nodeId, command, params }: InvocationPayload,
  param: string,
  value: string,
): string {
  const payload = JSON.stringify({ nodeId, command, params: { ...params, [param]: HOLE } })
  const [before = '', after = ''] = payload.split(JSON.stringify(HOLE))
  return `{{ ${jinjaText(before)} }}{{ ${value} }}{{ ${jinjaText(after)} }}`
}
