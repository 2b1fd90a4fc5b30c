import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { type AuthLevel, LEVELS } from '../../../src/protocol/names.ts'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { href } from '../router.ts'
import { useLoaded } from '../ui/data.ts'
import { attempt, Button, Card, Level, ListState, SelectField, TextField } from '../ui/kit.tsx'
import { because, EntryTable } from './limb-policy.tsx'

type Explained = NonNullable<VerbResult<'policy/explain'>['items']>[number]

/** Principals as columns, limbs and capabilities as rows; what is not shown is denied. Each cell says what decides. */

const MAX_COLUMNS = 8
const ROWS = 100

export function AccessPolicies(): JSX.Element {
  const [turn, setTurn] = useState(0)
  const entries = useLoaded(() => session.ask('policy/list', { limit: 1000 }), [turn])
  const again = () => setTurn((count) => count + 1)
  return (
    <>
      <Matrix turn={turn} />
      <div class="grid wide-first">
        <Card title={t('policy.entries')}>
          <ListState error={entries.error} count={entries.data?.items.length} none={t('policy.none')} />
          <EntryTable items={entries.data?.items ?? []} changed={again} />
        </Card>
        {session.may('policy/set') && <AddPolicy again={again} />}
      </div>
    </>
  )
}

async function columnsOf(
  names: string,
): Promise<{ name: string; items: readonly Explained[]; more: boolean }[]> {
  const given = names.split(/[\s,]+/).filter((name) => name !== '')
  const known = session.may('principal/list')
    ? (await session.ask('principal/list', { limit: 1000 })).items.map(({ name }) => name)
    : [session.name]
  const shown = (given.length === 0 ? known : given).slice(0, MAX_COLUMNS)
  return await Promise.all(
    shown.map(async (name) => {
      const { items = [], next } = await session.ask('policy/explain', { principal: name, limit: 1000 })
      return { name, items, more: next !== undefined }
    }),
  )
}

function Matrix({ turn }: { turn: number }): JSX.Element {
  const [names, setNames] = useState('')
  const [text, setText] = useState('')
  const { data, error } = useLoaded(() => columnsOf(names), [names, turn])
  const rows = rowsOf(data ?? []).filter((key) => key.toLowerCase().includes(text.toLowerCase()))
  return (
    <Card title={t('matrix.title')}>
      <div class="two">
        <TextField label={t('matrix.principals')} value={names} onInput={setNames} placeholder={t('any')} />
        <TextField
          label={t('matrix.limbs')}
          value={text}
          onInput={setText}
          type="search"
          placeholder={t('any')}
        />
      </div>
      <ListState error={error} count={data && rows.length} none={t('matrix.none')} />
      {data !== undefined && rows.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label={t('matrix.title')}>
          <table class="matrix">
            <thead>
              <tr>
                <th scope="col">{t('limb')}</th>
                <th scope="col">{t('capability')}</th>
                {data.map(({ name }) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.slice(0, ROWS).map((key) => (
                <MatrixRow key={key} id={key} columns={data} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows.length > ROWS && <p class="quiet">{t('matrix.more', { n: rows.length - ROWS })}</p>}
    </Card>
  )
}

function keyOf({ nodeId, capability }: Pick<Explained, 'nodeId' | 'capability'>): string {
  return `${nodeId} ${capability}`
}

function rowsOf(columns: readonly { items: readonly Explained[] }[]): string[] {
  const keys = new Set(columns.flatMap(({ items }) => items.map(keyOf)))
  return [...keys].sort()
}

function MatrixRow({
  id,
  columns,
}: {
  id: string
  columns: readonly { name: string; items: readonly Explained[] }[]
}): JSX.Element {
  const [nodeId = '', capability = ''] = id.split(' ')
  return (
    <tr>
      <th scope="row">
        <a href={href('limb', nodeId, { tab: 'policy' })}>{nodeId}</a>
      </th>
      <td class="mono">{capability}</td>
      {columns.map(({ name, items }) => {
        const found = items.find((item) => keyOf(item) === id)
        return (
          <td key={name} title={found === undefined ? t('level.denied') : because(found)}>
            <Level level={found?.level ?? 'denied'} />
          </td>
        )
      })}
    </tr>
  )
}

function AddPolicy({ again }: { again: () => void }): JSX.Element {
  const [principal, setPrincipal] = useState('*')
  const [nodeId, setNodeId] = useState('*')
  const [capability, setCapability] = useState('*')
  const [level, setLevel] = useState<AuthLevel>('gated')
  const [warnings, setWarnings] = useState<readonly string[]>([])
  const add = async () => {
    const made = await attempt(
      session.ask('policy/set', { principal, nodeId, capability, level }),
      t('saved'),
    )
    const beaten = (made.beatenBy ?? []).map((entry) =>
      t('policy.beaten', { entry: `${entry.principal} / ${entry.nodeId} / ${entry.capability}` }),
    )
    setWarnings([...(made.warnings ?? []), ...beaten])
    again()
  }
  return (
    <Card title={t('policy.add')}>
      <TextField label={t('principal')} value={principal} onInput={setPrincipal} hint={t('any-star')} />
      <TextField label={t('limb')} value={nodeId} onInput={setNodeId} hint={t('any-star')} />
      <TextField label={t('capability')} value={capability} onInput={setCapability} hint={t('any-star')} />
      <SelectField
        label={t('level')}
        value={level}
        onChange={(value) => setLevel(LEVELS.find((each) => each === value) ?? 'gated')}
        options={LEVELS.map((each) => [each, t(`level.${each}`)] as const)}
      />
      {warnings.map((text) => (
        <p key={text} class="note">
          {text}
        </p>
      ))}
      <p class="act">
        <Button kind="primary" onClick={add}>
          {t('policy.add')}
        </Button>
      </p>
    </Card>
  )
}
