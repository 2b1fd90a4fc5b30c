/**
 * The templates of discovery messages, as far as they only say where a value stands. No template is run: what is not
 * understood is left out, with everything that needs it.
 */

/** Says where a value stands: a JSON pointer, or the whole payload without one. */
export interface ValuePlace {
  readonly pointer?: string
}

const STEP = String.raw`(?:\.get\(\s*(?:'[^'{}]*'|"[^"{}]*")\s*\)|\.[A-Za-z_]\w*|\[\s*(?:'[^'{}]*'|"[^"{}]*"|\d+)\s*\])`
const PATH = `value_json((?:${STEP})+)`
/** Filters that change how a value is written, and not what it is. */
const FILTERS = String.raw`(?:\s*\|\s*(?:float|int|round|default|string|upper|lower|is_defined|trim|title|tojson)(?:\([^(){}]*\))?)*`
const OF_JSON = new RegExp(String.raw`^\{\{-?\s*\(?${PATH}\)?${FILTERS}\s*-?\}\}$`)
/** `{{ x if x is defined else … }}`, in which both are the same. */
const IF_DEFINED = new RegExp(
  String.raw`^\{\{-?\s*${PATH}\s+if\s+${PATH}\s+is\s+defined\s+else\s+[^{}]*\}\}$`,
)
const WHOLE = new RegExp(String.raw`^\{\{-?\s*value${FILTERS}\s*-?\}\}$`)
const MAX_CHARS = 1000

/** Returns the place that a template names; undefined when it does more than that. */
export function placeOf(template: unknown): ValuePlace | undefined {
  if (template === undefined || template === '') return {}
  if (typeof template !== 'string' || template.length > MAX_CHARS) return undefined
  const text = template.trim()
  if (WHOLE.test(text)) return {}
  const found = OF_JSON.exec(text) ?? definedIn(text)
  return found === null ? undefined : { pointer: pointerOf(found[1] ?? '') }
}

function definedIn(text: string): RegExpExecArray | null {
  const found = IF_DEFINED.exec(text)
  return found !== null && found[1] === found[2] ? found : null
}

function pointerOf(path: string): string {
  const steps = path.match(new RegExp(STEP, 'g')) ?? []
  return steps.map((step) => `/${keyOf(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}

function keyOf(step: string): string {
  const quoted = /['"](.*)['"]/.exec(step)
  if (quoted) return quoted[1] ?? ''
  return step.startsWith('.') ? step.slice(1) : step.slice(1, -1).trim()
}

/** The text around the one value of a command template. */
export interface Around {
  readonly before?: string
  readonly after?: string
}

const VALUE = /\{\{-?\s*value\s*(?:\|\s*(?:int|float|string|tojson|round)(?:\([^(){}]*\))?\s*)*-?\}\}/

/** Returns what stands around the value; undefined when the template does more than to put it there. */
export function aroundValue(template: unknown): Around | undefined {
  if (template === undefined || template === '') return {}
  if (typeof template !== 'string' || template.length > 400) return undefined
  const [before, after, ...more] = template.split(VALUE)
  if (before === undefined || after === undefined || more.length > 0) return undefined
  if (/\{\{|\{%|\{#/.test(before + after)) return undefined
  return { ...(before === '' ? {} : { before }), ...(after === '' ? {} : { after }) }
}
