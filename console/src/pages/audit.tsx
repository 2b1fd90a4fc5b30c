import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { AUDIT_KINDS } from '../../../src/protocol/audit-kinds.ts'
import type { VerbResult } from '../../../src/protocol/results.ts'
import type { VerbArgs } from '../../../src/protocol/verbs.ts'
import { known, numberText, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { currentRoute, routeChanged, setQuery } from '../router.ts'
import { AuditLines, type AuditRow } from '../ui/audit-lines.tsx'
import { useLoaded } from '../ui/data.ts'
import {
  attempt,
  Button,
  Card,
  Empty,
  Icon,
  ListState,
  SelectField,
  saveFile,
  TextField,
} from '../ui/kit.tsx'

const PAGE = 100
const EXPORT_PAGE = 1000
/** What a browser can hold as one file without trouble. */
const EXPORT_MAX = 100_000

/** Everything that was decided: live, filtered, verified, saved. */
export function AuditPage(): JSX.Element {
  useSignals(routeChanged)
  const { query } = currentRoute()
  if (!session.may('audit/list')) {
    return (
      <>
        <h1>{t('page.audit')}</h1>
        <Empty icon="lock">{t('audit.not-yours')}</Empty>
      </>
    )
  }
  const filters = {
    actor: query.get('actor') ?? '',
    nodeId: query.get('limb') ?? '',
    kind: query.get('kind') ?? '',
    since: query.get('since') ?? '',
  }
  return (
    <>
      <header class="page-head">
        <h1>{t('page.audit')}</h1>
        <ExportButton filters={filters} />
      </header>
      <Verify />
      <search class="filters">
        <TextField label={t('audit.actor')} value={filters.actor} onInput={(actor) => setQuery({ actor })} />
        <TextField label={t('limb')} value={filters.nodeId} onInput={(limb) => setQuery({ limb })} />
        <SelectField
          label={t('audit.kind')}
          value={filters.kind}
          onChange={(kind) => setQuery({ kind })}
          options={KINDS()}
        />
        <TextField
          label={t('audit.since')}
          value={filters.since}
          onInput={(since) => setQuery({ since })}
          type="datetime-local"
        />
      </search>
      <Rows key={JSON.stringify(filters)} filters={filters} />
    </>
  )
}

interface Filters {
  readonly actor: string
  readonly nodeId: string
  readonly kind: string
  readonly since: string
}

function KINDS(): readonly (readonly [string, string])[] {
  const families = [...new Set(AUDIT_KINDS.map((kind) => `${kind.split('.')[0]}.`))]
  return [
    ['', t('any')],
    ...families.map((family) => [family, `${family}*`] as const),
    ...AUDIT_KINDS.map((kind) => [kind, known(`audit.${kind}`) ?? kind] as const),
  ]
}

function argsOf({ actor, nodeId, kind, since }: Filters): Partial<VerbArgs<'audit/list'>> {
  const from = since === '' ? Number.NaN : new Date(since).getTime()
  return {
    ...(actor === '' ? {} : { actor }),
    ...(nodeId === '' ? {} : { nodeId }),
    ...(kind === '' ? {} : { kind }),
    ...(Number.isNaN(from) ? {} : { since: new Date(from).toISOString() }),
  }
}

function Rows({ filters }: { filters: Filters }): JSX.Element {
  const { data, error } = useLoaded(
    () => session.ask('audit/list', { ...argsOf(filters), limit: PAGE }),
    [],
    [session.fleet.eventsChanged],
  )
  const [older, setOlder] = useState<readonly AuditRow[]>([])
  const [next, setNext] = useState<string | undefined>()
  useEffect(() => {
    if (older.length === 0) setNext(data?.next)
  }, [data])
  const more = async () => {
    if (next === undefined) return
    const page = await attempt(session.ask('audit/list', { ...argsOf(filters), limit: PAGE, after: next }))
    setOlder([...older, ...page.items])
    setNext(page.next)
  }
  const newest = data?.items ?? []
  const last = newest[newest.length - 1]?.seq ?? 0
  const rows = [...newest, ...older.filter(({ seq }) => seq < last)]
  return (
    <Card title={t('audit.rows')}>
      <ListState error={error} count={data && rows.length} none={t('record.none')} />
      <AuditLines rows={rows} />
      {next !== undefined && (
        <p class="act">
          <Button onClick={more}>{t('audit.older')}</Button>
        </p>
      )}
    </Card>
  )
}

function Verify(): JSX.Element {
  const [outcome, setOutcome] = useState<VerbResult<'audit/verify'>>()
  const verify = async () => setOutcome(await attempt(session.ask('audit/verify', {}, 120_000)))
  return (
    <div class="verify">
      <Button onClick={verify}>
        <Icon name="approvals" />
        {t('audit.verify')}
      </Button>
      {outcome !== undefined && (
        <p role="status" class={outcome.whole ? 'good' : 'error'}>
          {outcome.whole
            ? t('audit.whole', { n: outcome.rows, last: outcome.lastSeq ?? 0 })
            : t('audit.broken', { at: outcome.brokenAt ?? 0, problem: outcome.problem ?? '' })}
          {outcome.lastHash !== undefined && (
            <>
              <br />
              <code>{outcome.lastHash}</code>
            </>
          )}
        </p>
      )}
    </div>
  )
}

function ExportButton({ filters }: { filters: Filters }): JSX.Element {
  const [count, setCount] = useState<number>()
  const save = async () => {
    const lines: string[] = []
    let after: string | undefined
    do {
      const cursor = after === undefined ? {} : { after }
      const page: VerbResult<'audit/list'> = await attempt(
        session.ask('audit/list', { ...argsOf(filters), order: 'oldest', limit: EXPORT_PAGE, ...cursor }),
      )
      for (const row of page.items) lines.push(JSON.stringify(row))
      after = page.next
      setCount(lines.length)
    } while (after !== undefined && lines.length < EXPORT_MAX)
    setCount(undefined)
    saveFile('limb-bridge-audit.jsonl', `${lines.join('\n')}\n`, 'application/jsonl')
  }
  return (
    <Button onClick={save}>
      <Icon name="download" />
      {count === undefined ? t('audit.export') : t('audit.exporting', { count: numberText(count) })}
    </Button>
  )
}
