import type { JSX } from 'preact'
import { useId, useState } from 'preact/hooks'
import type { ValueSchema } from '../../../src/protocol/descriptions.ts'
import { unitOf } from '../../../src/protocol/units.ts'
import { numberText, t } from '../i18n/index.ts'
import { own } from '../live/own.ts'
import { Field } from './kit.tsx'

/** Controls made from the schema of a command: a switch, a slider, a select, a number, a text, or JSON. */

export type Params = Readonly<Record<string, unknown>>

export function isSwitch(schema: ValueSchema): boolean {
  return schema.type === 'boolean'
}

export function isSlider({ type, minimum, maximum }: ValueSchema): boolean {
  return (type === 'number' || type === 'integer') && minimum !== undefined && maximum !== undefined
}

/** What a form begins with: the defaults, and for a slider its least. */
export function startOf(schema: ValueSchema | undefined): Params {
  const entries = Object.entries(schema?.properties ?? {})
  return Object.fromEntries(entries.flatMap(([name, each]) => startValue(name, each, schema)))
}

function startValue(name: string, each: ValueSchema, whole: ValueSchema | undefined): [string, unknown][] {
  if (each.default !== undefined) return [[name, each.default]]
  if (each.const !== undefined) return [[name, each.const]]
  if (whole?.required?.includes(name) !== true) return []
  if (each.enum !== undefined) return [[name, each.enum[0]]]
  if (isSwitch(each)) return [[name, false]]
  if (isSlider(each)) return [[name, each.minimum]]
  return []
}

export function SchemaForm({
  schema,
  value,
  onChange,
}: {
  schema: ValueSchema
  value: Params
  onChange: (value: Params) => void
}): JSX.Element {
  const set = (name: string, next: unknown) => {
    const { [name]: _old, ...rest } = value
    onChange(next === undefined ? rest : { ...rest, [name]: next })
  }
  return (
    <div class="schema">
      {Object.entries(schema.properties ?? {}).map(([name, each]) => (
        <ValueControl
          key={name}
          name={name}
          schema={each}
          value={own(value, name)}
          required={schema.required?.includes(name) ?? false}
          onChange={(next) => set(name, next)}
        />
      ))}
    </div>
  )
}

interface ValueControlProps {
  readonly name: string
  readonly schema: ValueSchema
  readonly value: unknown
  readonly required: boolean
  /** Undefined: leave it out. */
  readonly onChange: (value: unknown) => void
}

export function ValueControl(props: ValueControlProps): JSX.Element {
  const { name, schema, value, required, onChange } = props
  const label = required ? labelOf(name, schema) : `${labelOf(name, schema)} ${t('optional')}`
  if (isSwitch(schema))
    return <Switch label={label} on={value === true} onChange={onChange} hint={schema.description} />
  if (isSlider(schema)) return <Slider {...props} label={label} />
  return (
    <Field label={label} hint={schema.description}>
      {(id, describedBy) => {
        if (schema.enum !== undefined) {
          const at = schema.enum.indexOf(value as string)
          return (
            <select
              id={id}
              aria-describedby={describedBy}
              value={String(at)}
              onChange={(event) => onChange(schema.enum?.[Number(event.currentTarget.value)])}
            >
              {(!required || at < 0) && <option value="-1">—</option>}
              {schema.enum.map((each, index) => (
                <option key={String(each)} value={String(index)}>
                  {String(each)}
                </option>
              ))}
            </select>
          )
        }
        if (schema.type === 'object' || schema.type === 'array' || schema.type === undefined)
          return <JsonInput id={id} value={value} onChange={onChange} />
        const isNumber = schema.type === 'number' || schema.type === 'integer'
        return (
          <input
            id={id}
            aria-describedby={describedBy}
            {...({ type: isNumber ? 'number' : 'text' } as { type: 'number' })}
            required={required}
            min={schema.minimum}
            max={schema.maximum}
            step={schema.multipleOf ?? (schema.type === 'integer' ? 1 : 'any')}
            minLength={schema.minLength}
            maxLength={schema.maxLength}
            value={value === undefined || value === null ? '' : String(value)}
            onInput={(event) => {
              const text = event.currentTarget.value
              if (text === '' && !required) onChange(undefined)
              else onChange(isNumber ? (text === '' ? undefined : Number(text)) : text)
            }}
          />
        )
      }}
    </Field>
  )
}

function labelOf(name: string, { title, unit }: ValueSchema): string {
  return unit === undefined ? (title ?? name) : `${title ?? name} (${unitOf(unit)})`
}

export function Switch({
  label,
  on,
  onChange,
  hint,
  disabled,
}: {
  label: string
  on: boolean
  onChange: (on: boolean) => void
  hint?: string | undefined
  disabled?: boolean
}): JSX.Element {
  const id = useId()
  return (
    <div class="field switch-field">
      <button
        type="button"
        id={id}
        role="switch"
        class="switch"
        aria-checked={on}
        aria-label={label}
        disabled={disabled}
        onClick={() => onChange(!on)}
      >
        <span />
      </button>
      <label for={id}>{label}</label>
      {hint !== undefined && <small>{hint}</small>}
    </div>
  )
}

function Slider({ label, schema, value, onChange }: ValueControlProps & { label: string }): JSX.Element {
  const now = typeof value === 'number' ? value : (schema.minimum ?? 0)
  return (
    <Field label={label} hint={schema.description}>
      {(id, describedBy) => (
        <div class="slider">
          <input
            id={id}
            aria-describedby={describedBy}
            type="range"
            min={schema.minimum}
            max={schema.maximum}
            step={schema.multipleOf ?? (schema.type === 'integer' ? 1 : 'any')}
            value={now}
            onInput={(event) => onChange(Number(event.currentTarget.value))}
          />
          {/* What nobody has moved is not sent. */}
          <output for={id}>{value === undefined ? '—' : numberText(now)}</output>
        </div>
      )}
    </Field>
  )
}

export function JsonInput({
  id,
  value,
  onChange,
}: {
  id: string
  value: unknown
  onChange: (value: unknown) => void
}): JSX.Element {
  const [text, setText] = useState(value === undefined ? '' : JSON.stringify(value))
  const [bad, setBad] = useState(false)
  const input = (next: string) => {
    setText(next)
    try {
      onChange(next.trim() === '' ? undefined : JSON.parse(next))
      setBad(false)
    } catch {
      setBad(true)
    }
  }
  return (
    <>
      <textarea
        id={id}
        rows={3}
        class="mono"
        spellcheck={false}
        aria-invalid={bad}
        value={text}
        onInput={(event) => input(event.currentTarget.value)}
      />
      {bad && <small class="bad">{t('json.bad')}</small>}
    </>
  )
}
