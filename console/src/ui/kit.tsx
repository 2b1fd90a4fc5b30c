import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { clockText, durationText, known, type MessageKey, shortDuration, t, timeText } from '../i18n/index.ts'
import { AskError } from '../live/connection.ts'
import { Signal, useSignals } from '../live/signal.ts'

/** The small parts that every page is made of. */

export type IconName = keyof typeof ICONS

const ICONS = {
  today: 'M4 12h4l2-6 4 12 2-6h4',
  pairing: 'M9 12a4 4 0 0 1 4-4h3a4 4 0 0 1 0 8h-1M15 12a4 4 0 0 1-4 4H8a4 4 0 0 1 0-8h1',
  limbs: 'M5 6h14M5 12h14M5 18h14',
  approvals: 'M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 12l2 2 4-4',
  access: 'M8 14a4 4 0 1 1 3.500-5.900L20 8v4h-2v3h-3v-3h-3.500A4 4 0 0 1 8 14z',
  audit: 'M7 3h8l4 4v14H7zM15 3v4h4M10 12h6M10 16h6',
  system: 'M4 6h16v5H4zM4 13h16v5H4zM7 8.500h.01M7 15.500h.01',
  check: 'M5 13l4 4L19 7',
  cross: 'M6 6l12 12M18 6L6 18',
  chevron: 'M9 6l6 6-6 6',
  search: 'M10.500 17a6.500 6.500 0 1 1 0-13 6.500 6.500 0 0 1 0 13zM15.500 15.500L20 20',
  warning: 'M12 4l9 16H3zM12 10v4M12 17h.01',
  bell: 'M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 20h4',
  bellOff: 'M6 16V11a6 6 0 0 1 9-5.200M18 11v5l2 2H8M10 20h4M4 4l16 16',
  copy: 'M9 9h10v10H9zM5 15V5h10',
  out: 'M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9',
  sun: 'M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  up: 'M6 15l6-6 6 6',
  down: 'M6 9l6 6 6-6',
  lock: 'M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  refresh: 'M19 12a7 7 0 1 1-2-5l2 2M19 4v5h-5',
} as const

export function Icon({ name, label }: { name: IconName; label?: string }): JSX.Element {
  return (
    <svg
      class="icon"
      viewBox="0 0 24 24"
      role={label === undefined ? undefined : 'img'}
      aria-label={label}
      aria-hidden={label === undefined}
    >
      <path d={ICONS[name]} />
    </svg>
  )
}

interface ButtonProps {
  readonly onClick: () => unknown
  readonly children: ComponentChildren
  readonly kind?: 'primary' | 'danger' | 'quiet'
  readonly disabled?: boolean
  readonly label?: string
  readonly small?: boolean
  readonly expanded?: boolean
}

/** While its promise is under way it cannot be pressed again. What it rejects with is shown by who made the promise. */
export function Button({
  onClick,
  children,
  kind,
  disabled,
  label,
  small,
  expanded,
}: ButtonProps): JSX.Element {
  const [busy, setBusy] = useState(false)
  const press = async () => {
    if (busy) return
    const outcome = onClick()
    if (!(outcome instanceof Promise)) return
    setBusy(true)
    await outcome.catch(() => undefined)
    setBusy(false)
  }
  return (
    <button
      type="button"
      class={`button ${kind ?? ''} ${small ? 'small' : ''}`}
      disabled={disabled}
      aria-busy={busy}
      aria-label={label}
      aria-expanded={expanded}
      title={label}
      onClick={press}
    >
      {children}
    </button>
  )
}

/** Ticks once a second while somebody looks. */
const tick = new Signal()
setInterval(() => {
  if (!document.hidden) tick.changed()
}, 1000)

export function useTick(): void {
  useSignals(tick)
}

export function secondsSince(at: string | number): number {
  return Math.max(0, (Date.now() - new Date(at).getTime()) / 1000)
}

/** How long ago, live; the time itself on hover and for screen readers. */
export function Age({ at, short = false }: { at: string; short?: boolean }): JSX.Element {
  useTick()
  const text = (short ? shortDuration : durationText)(secondsSince(at))
  return (
    <time dateTime={at} title={timeText(at)}>
      {short ? text : t('age.ago', { duration: text })}
    </time>
  )
}

const HALF_DAY_MS = 43_200_000

/** The time of day; with its day when that is not near, before or after now. */
export function Clock({ at }: { at: string }): JSX.Element {
  const isNear = Math.abs(Date.now() - new Date(at).getTime()) < HALF_DAY_MS
  return (
    <time dateTime={at} title={timeText(at)}>
      {isNear ? clockText(at) : timeText(at)}
    </time>
  )
}

/** What is left of the time, as words and as a bar. */
export function TimeBar({ from, until }: { from: string; until: string }): JSX.Element {
  useTick()
  const [start, end] = [new Date(from).getTime(), new Date(until).getTime()]
  const left = Math.max(0, (end - Date.now()) / 1000)
  const share = Math.max(0, Math.min(1, (end - Date.now()) / Math.max(1, end - start)))
  return (
    <div class="timebar">
      <progress max={1} value={share} aria-label={t('time.left', { duration: durationText(left) })} />
      <span>{t('time.left', { duration: shortDuration(left) })}</span>
    </div>
  )
}

export function Status({ status }: { status: string }): JSX.Element {
  return (
    <span class={`status ${status}`}>
      <span class="dot" aria-hidden="true" />
      {known(`status.${status}`) ?? status}
    </span>
  )
}

export function Tag({ children, tone = '' }: { children: ComponentChildren; tone?: string }): JSX.Element {
  return <span class={`tag ${tone}`}>{children}</span>
}

export function Level({ level }: { level: string }): JSX.Element {
  return <Tag tone={`level-${level}`}>{known(`level.${level}`) ?? level}</Tag>
}

export function Empty({ children, icon }: { children: ComponentChildren; icon?: IconName }): JSX.Element {
  return (
    <div class="empty">
      {icon !== undefined && <Icon name={icon} />}
      <p>{children}</p>
    </div>
  )
}

export function Card({
  title,
  children,
  actions,
  id,
  tone = '',
}: {
  title?: ComponentChildren
  children: ComponentChildren
  actions?: ComponentChildren
  id?: string
  tone?: string
}): JSX.Element {
  const heading = useId()
  return (
    <section class={`card ${tone}`} id={id} aria-labelledby={title === undefined ? undefined : heading}>
      {title !== undefined && (
        <header>
          <h2 id={heading}>{title}</h2>
          {actions !== undefined && <div class="actions">{actions}</div>}
        </header>
      )}
      {children}
    </section>
  )
}

export function Facts({
  rows,
}: {
  rows: readonly (readonly [string, ComponentChildren] | undefined | false)[]
}): JSX.Element {
  return (
    <dl class="facts">
      {rows.map((row) =>
        row ? (
          <div key={row[0]}>
            <dt>{row[0]}</dt>
            <dd>{row[1]}</dd>
          </div>
        ) : null,
      )}
    </dl>
  )
}

export function Field({
  label,
  hint,
  children,
}: {
  label: string
  hint?: string | undefined
  children: (id: string, describedBy: string | undefined) => ComponentChildren
}): JSX.Element {
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id, hint === undefined ? undefined : `${id}-hint`)}
      {hint !== undefined && <small id={`${id}-hint`}>{hint}</small>}
    </div>
  )
}

interface TextFieldProps {
  readonly label: string
  readonly value: string
  readonly onInput: (value: string) => void
  readonly hint?: string | undefined
  readonly type?: string
  readonly autocomplete?: string
  readonly placeholder?: string
  readonly maxLength?: number
  readonly list?: readonly string[]
  readonly autofocus?: boolean
}

export function TextField({
  label,
  value,
  onInput,
  hint,
  type = 'text',
  list,
  autofocus,
  ...rest
}: TextFieldProps): JSX.Element {
  const listId = useId()
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (autofocus) input.current?.focus()
  }, [])
  return (
    <Field label={label} hint={hint}>
      {(id, describedBy) => (
        <>
          <input
            ref={input}
            id={id}
            {...({ type } as { type: 'text' })}
            value={value}
            aria-describedby={describedBy}
            list={list === undefined ? undefined : listId}
            spellcheck={false}
            autocapitalize="off"
            onInput={(event) => onInput(event.currentTarget.value)}
            {...rest}
          />
          {list !== undefined && (
            <datalist id={listId}>
              {list.map((each) => (
                <option key={each} value={each} />
              ))}
            </datalist>
          )}
        </>
      )}
    </Field>
  )
}

export function SelectField({
  label,
  value,
  options,
  onChange,
}: {
  label: string
  value: string
  options: readonly (readonly [value: string, text: string])[]
  onChange: (value: string) => void
}): JSX.Element {
  return (
    <Field label={label}>
      {(id) => (
        <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
          {options.map(([each, text]) => (
            <option key={each} value={each}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

/** A dialogue of the browser's own: it holds the focus, Escape closes it. */
export function Dialog({
  title,
  children,
  onClose,
}: {
  title: string
  children: ComponentChildren
  onClose: () => void
}): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null)
  const heading = useId()
  useEffect(() => {
    const dialog = ref.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  return (
    <dialog ref={ref} aria-labelledby={heading} onCancel={onClose} onClose={onClose}>
      <header>
        <h2 id={heading}>{title}</h2>
        <Button kind="quiet" small label={t('close')} onClick={onClose}>
          <Icon name="cross" />
        </Button>
      </header>
      {children}
    </dialog>
  )
}

export interface Question {
  readonly title: string
  readonly text: ComponentChildren
  readonly action: string
  readonly danger?: boolean
  readonly run: () => Promise<unknown>
}

const asked = new Signal()
let question: Question | undefined

/** Asks before something that cannot be taken back. */
export function confirmThen(next: Question): void {
  question = next
  asked.changed()
}

export function Questions(): JSX.Element | null {
  useSignals(asked)
  const now = question
  if (now === undefined) return null
  const close = () => {
    question = undefined
    asked.changed()
  }
  const run = async () => {
    await now.run()
    close()
  }
  return (
    <Dialog title={now.title} onClose={close}>
      <div class="prose">{now.text}</div>
      <footer>
        <Button onClick={close}>{t('cancel')}</Button>
        <Button kind={now.danger === false ? 'primary' : 'danger'} onClick={run}>
          {now.action}
        </Button>
      </footer>
    </Dialog>
  )
}

interface Toast {
  readonly id: number
  readonly text: string
  readonly tone: 'good' | 'bad'
  readonly undo?: { readonly text: string; readonly run: () => Promise<unknown> } | undefined
}

const TOAST_MS = 7000
const MAX_TOASTS = 4
const toastsChanged = new Signal()
let toasts: readonly Toast[] = []
let toastCount = 0

export function toast(text: string, tone: Toast['tone'] = 'good', undo?: Toast['undo']): void {
  const made = { id: ++toastCount, text, tone, undo }
  toasts = [...toasts, made].slice(-MAX_TOASTS)
  toastsChanged.changed()
  setTimeout(() => dismiss(made.id), tone === 'bad' ? TOAST_MS * 2 : TOAST_MS)
}

function dismiss(id: number): void {
  toasts = toasts.filter((each) => each.id !== id)
  toastsChanged.changed()
}

export function Toasts(): JSX.Element {
  useSignals(toastsChanged)
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.map(({ id, text, tone, undo }) => (
        <div key={id} class={`toast ${tone}`}>
          <Icon name={tone === 'good' ? 'check' : 'warning'} />
          <span>{text}</span>
          {undo !== undefined && (
            <Button small kind="quiet" onClick={() => undo.run().then(() => dismiss(id))}>
              {undo.text}
            </Button>
          )}
          <Button small kind="quiet" label={t('close')} onClick={() => dismiss(id)}>
            <Icon name="cross" />
          </Button>
        </div>
      ))}
    </div>
  )
}

export function errorText(error: unknown): string {
  if (!(error instanceof AskError)) return String(error)
  const sentence = known(`error.${error.code}`)
  const { message } = error.body
  return sentence === undefined ? message : `${sentence} (${message})`
}

/** Runs it and says how it went; rejects as it does, so that who called can stop. */
export async function attempt<T>(work: Promise<T>, done?: string): Promise<T> {
  try {
    const outcome = await work
    if (done !== undefined) toast(done)
    return outcome
  } catch (error) {
    toast(errorText(error), 'bad')
    throw error
  }
}

export function ErrorLine({ error }: { error: unknown }): JSX.Element {
  return (
    <p class="error" role="alert">
      <Icon name="warning" />
      {errorText(error)}
    </p>
  )
}

interface ListStateProps {
  readonly error: unknown
  /** The number of entries; undefined while nothing was answered. */
  readonly count: number | undefined
  readonly none: string
}

/** What stands in the place of a list that could not be loaded, or has no entry. */
export function ListState({ error, count, none }: ListStateProps): JSX.Element {
  return (
    <>
      {error !== undefined && <ErrorLine error={error} />}
      {count === 0 && <Empty>{none}</Empty>}
    </>
  )
}

export function CopyButton({ text, label = 'copy' }: { text: string; label?: MessageKey }): JSX.Element {
  const [done, setDone] = useState(false)
  const copy = async () => {
    await copyText(text)
    setDone(true)
    setTimeout(() => setDone(false), 1500)
  }
  return (
    <Button small onClick={copy}>
      <Icon name={done ? 'check' : 'copy'} />
      {t(done ? 'copied' : label)}
    </Button>
  )
}

/** The clipboard of a page without TLS is the selection's. */
async function copyText(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) {
    await navigator.clipboard.writeText(text)
    return
  }
  const area = document.createElement('textarea')
  area.value = text
  document.body.append(area)
  area.select()
  document.execCommand('copy')
  area.remove()
}

export function Json({ value }: { value: unknown }): JSX.Element {
  return (
    <pre class="json" tabIndex={0}>
      {JSON.stringify(value, null, 2)}
    </pre>
  )
}

/** Saves text or bytes as a file of the person's. */
export function saveFile(name: string, content: BlobPart, type: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
