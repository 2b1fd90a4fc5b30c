import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { AuthLevel } from '../../../src/protocol/names.ts'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { known, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useLoaded } from '../ui/data.ts'
import { attempt, Button, Card, Empty, ErrorLine, Level, ListState, TextField } from '../ui/kit.tsx'
import { LevelButtons } from '../ui/level-buttons.tsx'
import type { LimbView } from './limb.tsx'

type Explained = VerbResult<'policy/explain'>
type Entry = VerbResult<'policy/list'>['items'][number]

/** Who may use this limb, how freely, and what says so; a change is one press. */
export function LimbPolicy({ nodeId, state }: LimbView): JSX.Element {
  const [principal, setPrincipal] = useState(session.name)
  const [turn, setTurn] = useState(0)
  const entries = useLoaded(() => session.ask('policy/list', { nodeId, limit: 1000 }), [nodeId, turn])
  const names = useLoaded(principalNames, [turn])
  const again = () => setTurn((count) => count + 1)
  return (
    <div class="grid">
      <Card title={t('policy.for')}>
        <TextField label={t('principal')} value={principal} onInput={setPrincipal} list={names.data ?? []} />
        <table class="stacks">
          <thead>
            <tr>
              <th scope="col">{t('capability')}</th>
              <th scope="col">{t('level')}</th>
              <th scope="col">{t('policy.because')}</th>
            </tr>
          </thead>
          <tbody>
            {state.capabilities.map(({ cap }) => (
              <ExplainRow
                key={`${principal} ${cap} ${turn}`}
                nodeId={nodeId}
                capability={cap}
                principal={principal}
                changed={again}
              />
            ))}
          </tbody>
        </table>
        {state.capabilities.length === 0 && <Empty>{t('limb.no-commands')}</Empty>}
      </Card>
      <Card title={t('policy.entries')}>
        <ListState error={entries.error} count={entries.data?.items.length} none={t('policy.none')} />
        <EntryTable items={entries.data?.items ?? []} changed={again} />
      </Card>
    </div>
  )
}

async function principalNames(): Promise<string[]> {
  if (!session.may('principal/list')) return [session.name]
  const { items } = await session.ask('principal/list', { limit: 1000 })
  return items.map(({ name }) => name)
}

interface ExplainRowProps {
  readonly nodeId: string
  readonly capability: string
  readonly principal: string
  readonly changed: () => void
}

export function ExplainRow({ nodeId, capability, principal, changed }: ExplainRowProps): JSX.Element {
  const { data, error } = useLoaded(
    () => session.ask('policy/explain', { principal, nodeId, capability }),
    [],
  )
  const set = (level: AuthLevel) =>
    attempt(
      session.ask('policy/set', { principal, nodeId, capability, level }),
      t('policy.set', { principal, level: t(`level.${level}`) }),
    ).then(changed, () => undefined)
  const label = t('policy.level-of', { principal, capability })
  return (
    <tr>
      <th scope="row" class="mono">
        {capability}
      </th>
      <td>
        {session.may('policy/set') ? (
          <LevelButtons level={data?.level} label={label} onSet={set} />
        ) : (
          data?.level !== undefined && <Level level={data.level} />
        )}
      </td>
      <td>{error !== undefined ? <ErrorLine error={error} /> : data !== undefined && because(data)}</td>
    </tr>
  )
}

/** What decides, as a sentence. */
export function because({ decidedBy, entry, raisedFrom }: Explained): string {
  const raised = raisedFrom === undefined ? '' : ` ${t('policy.raised', { level: t(`level.${raisedFrom}`) })}`
  if (entry === undefined) return (known(`policy.by.${decidedBy}`) ?? '') + raised
  return (
    t('policy.by.entry', { entry: `${entry.principal} / ${entry.nodeId} / ${entry.capability}` }) + raised
  )
}

export function EntryTable({
  items,
  changed,
}: {
  items: readonly Entry[]
  changed: () => void
}): JSX.Element | null {
  if (items.length === 0) return null
  const remove = ({ principal, nodeId, capability }: Entry) =>
    attempt(session.ask('policy/delete', { principal, nodeId, capability }), t('policy.deleted')).then(
      changed,
    )
  return (
    <table class="stacks">
      <thead>
        <tr>
          <th scope="col">{t('principal')}</th>
          <th scope="col">{t('limb')}</th>
          <th scope="col">{t('capability')}</th>
          <th scope="col">{t('level')}</th>
          <th scope="col">
            <span class="unseen">{t('actions')}</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {items.map((entry) => (
          <tr key={`${entry.principal} ${entry.nodeId} ${entry.capability}`}>
            <td data-label={t('principal')}>{starred(entry.principal)}</td>
            <td class="mono" data-label={t('limb')}>
              {starred(entry.nodeId)}
            </td>
            <td class="mono" data-label={t('capability')}>
              {starred(entry.capability)}
            </td>
            <td data-label={t('level')}>
              <Level level={entry.level} />
            </td>
            <td>
              {session.may('policy/delete') && (
                <Button small onClick={() => remove(entry)}>
                  {t('policy.delete')}
                </Button>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function starred(name: string): string {
  return name === '*' ? t('any-star-short') : name
}
