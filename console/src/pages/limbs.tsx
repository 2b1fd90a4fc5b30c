import type { JSX } from 'preact'
import { useMemo, useRef, useState } from 'preact/hooks'
import { STATUSES } from '../../../src/protocol/names.ts'
import type { State } from '../../../src/protocol/schemas.ts'
import { known, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { currentRoute, go, href, routeChanged, setQuery } from '../router.ts'
import { Age, Empty, Icon, SelectField, Status, TextField } from '../ui/kit.tsx'
import { reasonText } from '../ui/reasons.tsx'
import { RowStrip } from '../ui/uptime.tsx'
import { VirtualList } from '../ui/virtual-list.tsx'
import { BulkActions } from './limbs-bulk.tsx'

const SORTS = ['name', 'id', 'status', 'since', 'platform'] as const
type Sort = (typeof SORTS)[number]

const ROW_PX = 56
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })

interface View {
  readonly text: string
  readonly status: string
  readonly capability: string
  readonly sort: Sort
  readonly down: boolean
}

function viewOf(query: URLSearchParams): View {
  const sort = query.get('sort') ?? 'name'
  return {
    text: query.get('q') ?? '',
    status: query.get('status') ?? '',
    capability: query.get('capability') ?? '',
    sort: SORTS.find((each) => each === sort) ?? 'name',
    down: query.get('order') === 'down',
  }
}

/** Words in any order, each somewhere in what the row says. */
function matches(state: State, { text, status, capability }: View): boolean {
  if (status !== '' && state.status !== status) return false
  if (capability !== '' && !state.capabilities.some(({ cap }) => cap === capability)) return false
  if (text === '') return true
  const hay = `${state.nodeId} ${state.displayName} ${state.platform} ${state.firmware ?? ''}`.toLowerCase()
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => hay.includes(word))
}

const STATUS_ORDER: Readonly<Record<string, number>> = {
  offline: 0,
  degraded: 1,
  busy: 2,
  asleep: 3,
  online: 4,
}

const KEYS: Readonly<Record<Sort, (state: State) => string | number>> = {
  name: ({ displayName }) => displayName,
  id: ({ nodeId }) => nodeId,
  status: ({ status }) => STATUS_ORDER[status] ?? 9,
  since: ({ since }) => -new Date(since).getTime(),
  platform: ({ platform }) => platform,
}

function sorted(states: State[], { sort, down }: View): State[] {
  const key = KEYS[sort]
  const sign = down ? -1 : 1
  return states
    .map((state) => ({ state, key: key(state) }))
    .sort((a, b) => {
      const order =
        typeof a.key === 'number' ? a.key - (b.key as number) : collator.compare(a.key, b.key as string)
      return order === 0 ? collator.compare(a.state.nodeId, b.state.nodeId) : sign * order
    })
    .map(({ state }) => state)
}

export function LimbsPage(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.nodesChanged, routeChanged)
  const { query } = currentRoute()
  const view = viewOf(query)
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const rows = useMemo(
    () =>
      sorted(
        [...fleet.nodes.values()].filter((state) => matches(state, view)),
        view,
      ),
    [fleet.nodesChanged.version, query.toString()],
  )
  const choose = (nodeId: string, on: boolean) => {
    const next = new Set(chosen)
    if (on) next.add(nodeId)
    else next.delete(nodeId)
    setChosen(next)
  }
  const mayBulk = session.may('node/set')
  const allChosen = rows.length > 0 && rows.every(({ nodeId }) => chosen.has(nodeId))
  return (
    <div class="fill">
      <header class="page-head">
        <h1>{t('page.limbs')}</h1>
        <p class="quiet" role="status">
          {rows.length === fleet.nodes.size
            ? t('limbs.all', { n: rows.length })
            : t('limbs.some', { some: rows.length, n: fleet.nodes.size })}
        </p>
        {session.may('node/provision') && (
          <a class="button" href={href('first')}>
            {t('limbs.add')}
          </a>
        )}
      </header>
      <Filters view={view} />
      {chosen.size > 0 && mayBulk && <BulkActions chosen={chosen} clear={() => setChosen(new Set())} />}
      {fleet.nodes.size === 0 ? (
        <Empty icon="limbs">
          {t('limbs.none')} <a href={href('first')}>{t('limbs.first')}</a>
        </Empty>
      ) : (
        <VirtualList
          items={rows}
          rowHeight={ROW_PX}
          label={t('page.limbs')}
          head={
            <div class="row head" role="row" aria-rowindex={1}>
              {mayBulk && (
                <span role="columnheader" class="choose">
                  <label>
                    <input
                      type="checkbox"
                      aria-label={t('limbs.choose-all')}
                      checked={allChosen}
                      onChange={(event) =>
                        setChosen(
                          new Set(event.currentTarget.checked ? rows.map(({ nodeId }) => nodeId) : []),
                        )
                      }
                    />
                  </label>
                </span>
              )}
              <SortHead sort="name" view={view} class="name" />
              <SortHead sort="status" view={view} class="state" />
              <SortHead sort="platform" view={view} class="platform" />
              <span role="columnheader" class="uptime">
                {t('limbs.uptime')}
              </span>
              <SortHead sort="since" view={view} class="age" />
            </div>
          }
          row={(state, index) => (
            <LimbRow
              key={state.nodeId}
              state={state}
              index={index}
              choose={mayBulk ? (on) => choose(state.nodeId, on) : undefined}
              chosen={chosen.has(state.nodeId)}
            />
          )}
        />
      )}
    </div>
  )
}

function Filters({ view }: { view: View }): JSX.Element {
  const { fleet } = session
  const capabilities = useMemo(() => {
    const names = new Set<string>()
    for (const { capabilities } of fleet.nodes.values()) for (const { cap } of capabilities) names.add(cap)
    return [...names].sort(collator.compare).slice(0, 200)
  }, [fleet.nodes.size])
  return (
    <search class="filters">
      <TextField
        label={t('search')}
        type="search"
        value={view.text}
        onInput={(q) => setQuery({ q })}
        placeholder={t('limbs.search-hint')}
      />
      <SelectField
        label={t('status')}
        value={view.status}
        onChange={(status) => setQuery({ status })}
        options={[
          ['', t('any')],
          ...STATUSES.map((each) => [each, known(`status.${each}`) ?? each] as const),
        ]}
      />
      <SelectField
        label={t('capability')}
        value={view.capability}
        onChange={(capability) => setQuery({ capability })}
        options={[['', t('any')], ...capabilities.map((each) => [each, each] as const)]}
      />
      <SelectField
        label={t('sort')}
        value={view.sort}
        onChange={(sort) => setQuery({ sort, order: '' })}
        options={SORTS.map((each) => [each, t(`sort.${each}`)] as const)}
      />
    </search>
  )
}

function SortHead({ sort, view, class: name }: { sort: Sort; view: View; class: string }): JSX.Element {
  const here = view.sort === sort
  const order = here ? (view.down ? 'descending' : 'ascending') : 'none'
  const press = () => setQuery({ sort, order: here && !view.down ? 'down' : '' })
  return (
    <span role="columnheader" class={name} aria-sort={order}>
      <button type="button" class="sort" onClick={press}>
        {t(`sort.${sort}`)}
        {here && <Icon name={view.down ? 'down' : 'up'} />}
      </button>
    </span>
  )
}

interface LimbRowProps {
  readonly state: State
  readonly index: number
  readonly choose: ((on: boolean) => void) | undefined
  readonly chosen: boolean
}

function LimbRow({ state, index, choose, chosen }: LimbRowProps): JSX.Element {
  const { nodeId, displayName, status, since, platform, firmware } = state
  const open = useRef<HTMLAnchorElement>(null)
  return (
    <div
      class={`row ${chosen ? 'chosen' : ''}`}
      role="row"
      aria-rowindex={index + 2}
      onClick={(event) =>
        event.target instanceof HTMLElement &&
        event.target.closest('a, input, label') === null &&
        go('limb', nodeId)
      }
    >
      {choose !== undefined && (
        <span role="cell" class="choose">
          <label>
            <input
              type="checkbox"
              checked={chosen}
              aria-label={t('limbs.choose', { name: displayName })}
              onChange={(event) => choose(event.currentTarget.checked)}
            />
          </label>
        </span>
      )}
      <span role="cell" class="name">
        <a ref={open} href={href('limb', nodeId)}>
          {displayName}
        </a>
        <small>{nodeId}</small>
      </span>
      <span role="cell" class="state">
        <Status status={status} />
        <small>{reasonText(state)}</small>
      </span>
      <span role="cell" class="platform">
        {platform}
        <small>{firmware ?? ''}</small>
      </span>
      <span role="cell" class="uptime">
        <RowStrip nodeId={nodeId} />
      </span>
      <span role="cell" class="age">
        <Age at={since} short />
      </span>
    </div>
  )
}
