import type { JSX } from 'preact'
import { useMemo } from 'preact/hooks'
import { TROUBLES } from '../../../src/protocol/names.ts'
import type { VerbResult } from '../../../src/protocol/results.ts'
import type { State } from '../../../src/protocol/schemas.ts'
import { known, numberText, t } from '../i18n/index.ts'
import type { FleetEvent } from '../live/fleet.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { href } from '../router.ts'
import { useLoaded } from '../ui/data.ts'
import { eventText } from '../ui/events.ts'
import { Age, Card, Clock, Empty, Icon, type IconName, Status } from '../ui/kit.tsx'
import { reasonText } from '../ui/reasons.tsx'

/** Problems first; then how many there are of what; then what happened last. */

const MAX_ROWS = 8
const DAY_S = 86_400
const TROUBLE_MS = 600_000
/** Twice the interval of the backups would be too late already; a day is the default. */
const BACKUP_OLD_S = 2 * DAY_S

export function TodayPage(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.nodesChanged, fleet.infoChanged)
  return (
    <>
      <header class="page-head">
        <h1>{t('page.today')}</h1>
        <p class="quiet">{t('today.of', { n: fleet.nodes.size })}</p>
      </header>
      <Counts />
      <div class="grid">
        <Problems />
        <LastEvents />
      </div>
    </>
  )
}

const COUNTED = ['online', 'busy', 'degraded', 'asleep', 'offline'] as const

function Counts(): JSX.Element {
  const counts = new Map<string, number>()
  for (const { status } of session.fleet.nodes.values()) counts.set(status, (counts.get(status) ?? 0) + 1)
  return (
    <ul class="counts">
      {COUNTED.map((status) => (
        <li key={status} class={status}>
          <a href={href('limbs', '', { status })}>
            <strong>{numberText(counts.get(status) ?? 0)}</strong>
            <Status status={status} />
          </a>
        </li>
      ))}
    </ul>
  )
}

interface Problem {
  readonly key: string
  readonly icon: IconName
  readonly text: JSX.Element | string
  readonly detail?: JSX.Element | string
  readonly link?: string
}

function Problems(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.pairingChanged, fleet.approvalsChanged, fleet.eventsChanged)
  const health = useLoaded(() => session.ask('bridge/health'), [], [fleet.infoChanged])
  const refused = useLoaded(refusedLately, [], [])
  const limbs = useMemo(() => limbProblems([...fleet.nodes.values()]), [fleet.nodesChanged.version])
  const problems = [
    ...waiting(),
    ...(health.data?.reasons ?? []).map((text): Problem => ({ key: text, icon: 'warning', text })),
    ...backupProblem(health.data?.lastBackupAt),
    ...(health.data?.uplinks ?? [])
      .filter(({ connected }) => !connected)
      .map(
        ({ name }): Problem => ({
          key: `uplink ${name}`,
          icon: 'warning',
          text: t('today.uplink', { name }),
          link: href('system'),
        }),
      ),
    ...refusedProblems(refused.data ?? [], fleet.events),
    ...troubleProblems(health.data?.troubles ?? [], fleet.events),
    ...signInProblems(fleet.events),
    ...limbs,
  ]
  return (
    <Card title={t('today.problems')}>
      {problems.length === 0 && health.data !== undefined && <Empty icon="check">{t('today.none')}</Empty>}
      <ul class="problems">
        {problems.map(({ key, icon, text, detail, link }) => (
          <li key={key}>
            <Icon name={icon} />
            <span>
              {link === undefined ? text : <a href={link}>{text}</a>}
              {detail !== undefined && <small>{detail}</small>}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  )
}

function waiting(): Problem[] {
  const { pairing, approvals } = session.fleet
  return [
    ...(approvals.size > 0
      ? [
          {
            key: 'approvals',
            icon: 'approvals',
            text: t('today.approvals', { n: approvals.size }),
            link: href('approvals'),
          } as const,
        ]
      : []),
    ...(pairing.size > 0
      ? [
          {
            key: 'pairing',
            icon: 'pairing',
            text: t('today.pairing', { n: pairing.size }),
            link: href('pairing'),
          } as const,
        ]
      : []),
  ]
}

function backupProblem(at: string | null | undefined): Problem[] {
  if (at === undefined) return []
  const old = at === null || Date.now() - new Date(at).getTime() > BACKUP_OLD_S * 1000
  if (!old) return []
  const detail = at === null ? {} : { detail: <Age at={at} /> }
  return [
    {
      key: 'backup',
      icon: 'warning',
      text: t(at === null ? 'today.no-backup' : 'today.old-backup'),
      link: href('system'),
      ...detail,
    },
  ]
}

/** Offline longest first, never seen, degraded; each kind bounded, with the way to all. */
function limbProblems(states: State[]): Problem[] {
  const bySince = (a: State, b: State) => (a.since < b.since ? -1 : 1)
  const offline = states
    .filter(({ status, lastHeartbeatAt }) => status === 'offline' && lastHeartbeatAt !== null)
    .sort(bySince)
  const never = states
    .filter(({ status, lastHeartbeatAt }) => status === 'offline' && lastHeartbeatAt === null)
    .sort(bySince)
  const degraded = states.filter(({ status }) => status === 'degraded').sort(bySince)
  return [
    ...shown(offline, 'offline'),
    ...shown(degraded, 'degraded'),
    ...shown(never, 'offline', t('today.never')),
  ]
}

function shown(states: readonly State[], status: string, never?: string): Problem[] {
  const rows = states.slice(0, MAX_ROWS).map(
    (state): Problem => ({
      key: `limb ${state.nodeId}`,
      icon: 'limbs',
      text: state.displayName,
      detail: (
        <>
          <Status status={status} /> {never ?? reasonText(state)} · <Age at={state.since} />
        </>
      ),
      link: href('limb', state.nodeId, { tab: 'health' }),
    }),
  )
  const left = states.length - rows.length
  if (left === 0) return rows
  const link = href('limbs', '', { status, sort: 'since', order: 'down' })
  return [
    ...rows,
    { key: `more ${status} ${never ?? ''}`, icon: 'more', text: t('today.more', { n: left }), link },
  ]
}

type AuditRow = VerbResult<'audit/list'>['items'][number]

const LATELY_MS = 3_600_000

/** Refusals of the last hour, of before this page was opened; only an operator may see the record. */
async function refusedLately(): Promise<readonly AuditRow[]> {
  if (!session.may('audit/list')) return []
  const since = new Date(Date.now() - LATELY_MS).toISOString()
  return (await session.ask('audit/list', { kind: 'signin.refused', since, limit: 20 })).items
}

/** The bridge writes `-` for no name at all. */
function refusedText(name: string): string {
  return name === '-' || name === '' ? t('today.refused-nameless') : t('today.refused', { name })
}

/** One line for each name; those that an event tells anew are left to it. */
function refusedProblems(rows: readonly AuditRow[], events: readonly FleetEvent[]): Problem[] {
  const told = new Set(
    events.filter(({ kind }) => kind === 'sign_in_refused').map(({ fields }) => fields.name),
  )
  const byName = new Map([...rows].reverse().map((row) => [String(row.detail.name), row] as const))
  return [...byName]
    .filter(([name]) => !told.has(name))
    .slice(0, MAX_ROWS)
    .map(([name, { at, actor, seq }]) => ({
      key: `refused ${seq}`,
      icon: 'lock',
      text: refusedText(name),
      detail: (
        <>
          {actor} · <Age at={at} />
        </>
      ),
      link: href('audit', '', { kind: 'signin.refused' }),
    }))
}

type Trouble = VerbResult<'bridge/health'>['troubles'][number]

/** Limbs that come and go, are two or say what cannot be used: of before this page was opened, and told since. */
function troubleProblems(before: readonly Trouble[], events: readonly FleetEvent[]): Problem[] {
  const newest = new Map<string, Problem>()
  const told = events.filter(({ kind }) => TROUBLES.some((each) => each === kind)).filter(isLate)
  const all = [...before.toReversed().map((trouble) => ({ ...trouble, fields: {} })), ...told.map(troubleOf)]
  for (const { nodeId, kind, at, fields } of all) {
    const key = `${kind} ${nodeId}`
    newest.delete(key)
    newest.set(key, {
      key,
      icon: 'warning',
      text: session.fleet.nodes.get(nodeId)?.displayName ?? nodeId,
      detail: (
        <>
          {[known(`event.${kind}`) ?? kind, addressesOf(fields)].filter(Boolean).join(' · ')} ·{' '}
          <Age at={at} />
        </>
      ),
      link: href('limb', nodeId, { tab: 'health' }),
    })
  }
  return [...newest.values()].slice(-MAX_ROWS)
}

function troubleOf({ kind, at, fields }: FleetEvent) {
  return { nodeId: String(fields.nodeId), kind, at, fields }
}

function addressesOf({ addresses }: FleetEvent['fields']): string {
  return Array.isArray(addresses) ? addresses.map(String).join(', ') : ''
}

function isLate({ at }: FleetEvent): boolean {
  return new Date(at).getTime() >= Date.now() - TROUBLE_MS
}

/** One line for each name whose sign-in an event told to be refused. */
function signInProblems(events: readonly FleetEvent[]): Problem[] {
  const found = new Map<string, Problem>()
  for (const event of events) {
    if (event.kind !== 'sign_in_refused' || !isLate(event)) continue
    const { fields } = event
    const name = String(fields.name)
    found.set(name, {
      key: `sign_in_refused ${name}`,
      icon: 'lock',
      text: refusedText(name),
      detail: `${String(fields.address)} · ${String(fields.reason)}`,
      link: href('limb', name, { tab: 'health' }),
    })
  }
  return [...found.values()].slice(-MAX_ROWS)
}

const MAX_LAST = 30

interface Happened {
  readonly key: string
  readonly at: string
  readonly what: string
  readonly about: string
}

function happened(key: string, event: Omit<FleetEvent, 'number'>): Happened {
  const what = known(`event.${event.kind}`) ?? event.kind
  return { key, at: event.at, what, about: eventText(event) }
}

/** What the statuses say of before the first event: each limb's newest change, which every role may see. */
function lastChanges(states: Iterable<State>, before: number, count: number): Happened[] {
  let newest: State[] = []
  for (const state of states) {
    if (Date.parse(state.since) >= before) continue
    newest.push(state)
    // Ten thousand limbs are not sorted for thirty lines.
    if (newest.length >= count * 10) newest = newestOf(newest, count)
  }
  return newestOf(newest, count).map(({ nodeId, status, reason, since }) =>
    happened(`limb ${nodeId}`, { kind: 'node_status', at: since, fields: { nodeId, status, reason } }),
  )
}

function newestOf<T extends { readonly since: string }>(states: T[], count: number): T[] {
  return states.sort((a, b) => (a.since < b.since ? 1 : -1)).slice(0, count)
}
const STORED_BEFORE_MS = 1000

/** What an operator missed before the page was opened; events are told once and kept nowhere. */
async function decidedLately(): Promise<readonly AuditRow[]> {
  if (!session.may('audit/list')) return []
  return (await session.ask('audit/list', { limit: MAX_LAST })).items
}

function LastEvents(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.eventsChanged, fleet.nodesChanged)
  const before = useLoaded(decidedLately, [])
  const rows = lastRows(fleet.events.slice(-MAX_LAST).reverse(), before.data ?? [])
  return (
    <Card title={t('today.last')}>
      {rows.length === 0 && !before.loading && <Empty>{t('today.quiet')}</Empty>}
      <ol class="events">
        {rows.map(({ key, at, what, about }) => (
          <li key={key}>
            <Clock at={at} />
            <span>
              {what} <small>{about}</small>
            </span>
          </li>
        ))}
      </ol>
    </Card>
  )
}

/** The newest first: events that this page was told, and before the first of them what is kept. */
function lastRows(events: readonly FleetEvent[], decided: readonly AuditRow[]): Happened[] {
  const told = events.map((event) => happened(`event ${event.number}`, event))
  const left = MAX_LAST - told.length
  if (left <= 0) return told
  // What an event tells is stored a little earlier.
  const first = Date.parse(session.fleet.events[0]?.at ?? '') - STORED_BEFORE_MS
  const before = Number.isNaN(first) ? Number.POSITIVE_INFINITY : first
  const kept = [
    ...lastChanges(session.fleet.nodes.values(), before, left),
    ...decided.filter(({ at }) => Date.parse(at) < before).map(decision),
  ]
  return [...told, ...kept.sort((a, b) => Date.parse(b.at) - Date.parse(a.at)).slice(0, left)]
}

function decision({ seq, at, kind, nodeId, actor }: AuditRow): Happened {
  const about = nodeId === undefined ? actor : `${nodeId} · ${actor}`
  return { key: `audit ${seq}`, at, what: known(`audit.${kind}`) ?? kind, about }
}
