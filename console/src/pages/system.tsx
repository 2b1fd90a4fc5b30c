import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { Account } from '../app.tsx'
import { numberText, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { type Loaded, useLoaded } from '../ui/data.ts'
import {
  Age,
  attempt,
  Button,
  Card,
  Clock,
  Empty,
  ErrorLine,
  Facts,
  Icon,
  ListState,
  SelectField,
  saveFile,
  Tag,
  TextField,
  toast,
} from '../ui/kit.tsx'

/** The bridge itself: is it well, what is on its machine, what it logged. */
export function SystemPage(): JSX.Element {
  const { fleet } = session
  const health = useLoaded(() => session.ask('bridge/health'), [], [fleet.infoChanged])
  const checks = useLoaded(
    async () => (session.may('bridge/doctor') ? await session.ask('bridge/doctor') : undefined),
    [],
  )
  return (
    <>
      <header class="page-head">
        <h1>{t('page.system')}</h1>
      </header>
      <div class="grid">
        <Health health={health} />
        {session.may('bridge/doctor') && <Checks checks={checks} />}
        <Certificates checks={checks.data?.items} />
        <Uplinks uplinks={health.data?.uplinks} />
        {session.may('backup/list') && <Backups again={health.again} />}
        <Card title={t('system.you')} tone="account">
          <Account />
        </Card>
      </div>
      {session.may('bridge/log') && <LogTail />}
    </>
  )
}

function Health({ health: { data, error } }: { health: Loaded<VerbResult<'bridge/health'>> }): JSX.Element {
  const { fleet } = session
  useSignals(fleet.infoChanged)
  const { info } = fleet
  return (
    <Card title={t('system.health')}>
      {error !== undefined && <ErrorLine error={error} />}
      {data !== undefined && (
        <>
          <p class="lead">
            <Tag tone={data.ready ? 'good' : 'bad'}>
              {t(data.ready ? 'system.ready' : 'system.not-ready')}
            </Tag>
          </p>
          <ul class="advice">
            {[...data.reasons, ...data.warnings].map((text) => (
              <li key={text}>{text}</li>
            ))}
          </ul>
        </>
      )}
      {info !== undefined && (
        <Facts
          rows={[
            [t('system.version'), info.version],
            [t('system.started'), <Age at={info.startedAt} />],
            [t('page.limbs'), t('system.limbs', { online: info.nodes.online, n: info.nodes.approved })],
          ]}
        />
      )}
    </Card>
  )
}

type Check = VerbResult<'bridge/doctor'>['items'][number]

const CERTIFICATE = 'certificate'
const TONES = { ok: 'good', warning: 'warn', problem: 'bad' } as const

function CheckLines({ items }: { items: readonly Check[] }): JSX.Element {
  return (
    <ul class="lines">
      {items.map(({ what, level, message }) => (
        <li key={`${what} ${message}`}>
          <span>
            <strong>{what}</strong> <small>{message}</small>
          </span>
          <Tag tone={TONES[level]}>{t(`system.check-level.${level}`)}</Tag>
        </li>
      ))}
    </ul>
  )
}

function Checks({
  checks: { data, error, again },
}: {
  checks: Loaded<VerbResult<'bridge/doctor'> | undefined>
}): JSX.Element {
  return (
    <Card
      title={t('system.checks')}
      actions={
        <Button small kind="quiet" label={t('refresh')} onClick={again}>
          <Icon name="refresh" />
        </Button>
      }
    >
      {error !== undefined && <ErrorLine error={error} />}
      <CheckLines items={(data?.items ?? []).filter(({ what }) => what !== CERTIFICATE)} />
    </Card>
  )
}

function Certificates({ checks }: { checks: readonly Check[] | undefined }): JSX.Element {
  const found = (checks ?? []).filter(({ what }) => what === CERTIFICATE)
  const { tls } = session.facts
  return (
    <Card title={t('system.certificates')}>
      {found.length === 0 && tls === null && location.protocol === 'http:' && (
        <Empty icon="lock">{t('system.no-certificates')}</Empty>
      )}
      <CheckLines items={found} />
    </Card>
  )
}

function Uplinks({ uplinks }: { uplinks: VerbResult<'bridge/health'>['uplinks'] | undefined }): JSX.Element {
  return (
    <Card title={t('system.uplinks')}>
      {uplinks?.length === 0 && <Empty>{t('system.no-uplinks')}</Empty>}
      <ul class="lines">
        {uplinks?.map(({ name, connected }) => (
          <li key={name}>
            <span>{name}</span>
            <Tag tone={connected ? 'good' : 'bad'}>
              {t(connected ? 'system.connected' : 'system.disconnected')}
            </Tag>
          </li>
        ))}
      </ul>
    </Card>
  )
}

const MIB = 1024 * 1024

function Backups({ again }: { again: () => void }): JSX.Element {
  const list = useLoaded(() => session.ask('backup/list'), [])
  const make = () =>
    attempt(session.ask('backup/create', {}, 600_000), t('backup.made'))
      .then(() => {
        list.again()
        again()
      })
      .catch(() => undefined)
  return (
    <Card title={t('system.backups')}>
      <ListState error={list.error} count={list.data?.items.length} none={t('backup.none')} />
      <ul class="lines">
        {list.data?.items.map(({ file, bytes, takenAt }) => (
          <li key={file}>
            <span>
              <Clock at={takenAt} />
              <br />
              <small class="mono">
                {nameOf(file)} · {numberText(bytes / MIB)} MiB
              </small>
            </span>
            <Button small onClick={() => download(nameOf(file))}>
              <Icon name="download" />
              {t('backup.download')}
            </Button>
          </li>
        ))}
      </ul>
      <p class="act">
        <Button onClick={make}>{t('backup.create')}</Button>
      </p>
    </Card>
  )
}

function nameOf(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1)
}

async function download(name: string): Promise<void> {
  const response = await fetch(`./console/backups/${encodeURIComponent(name)}`, {
    headers: { authorization: session.authorization() },
  }).catch(() => undefined)
  if (response?.ok !== true) toast(t('backup.failed'), 'bad')
  else saveFile(name, await response.blob(), 'application/vnd.sqlite3')
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const

function LogTail(): JSX.Element {
  const [nodeId, setNodeId] = useState('')
  const [level, setLevel] = useState<(typeof LEVELS)[number]>('info')
  const named = /^[\w-]+$/.test(nodeId) ? { nodeId } : {}
  const { data, error } = useLoaded(
    () => session.ask('bridge/log', { level, limit: 200, ...named }),
    [nodeId, level],
    [session.fleet.eventsChanged],
  )
  return (
    <Card title={t('system.log')}>
      <div class="two">
        <TextField label={t('system.log-limb')} value={nodeId} onInput={setNodeId} placeholder={t('any')} />
        <SelectField
          label={t('system.log-level')}
          value={level}
          onChange={(value) => setLevel(LEVELS.find((each) => each === value) ?? 'info')}
          options={LEVELS.map((each) => [each, each] as const)}
        />
      </div>
      <ListState error={error} count={data?.items.length} none={t('system.log-none')} />
      <ol class="log" tabIndex={0} aria-label={t('system.log')}>
        {data?.items.map((line, index) => (
          <li key={`${line.at} ${index}`} class={line.level}>
            <Clock at={line.at} />
            <span class="level">{line.level}</span>
            <span>
              {line.message}{' '}
              <small class="mono">{Object.keys(line.fields).length > 0 && JSON.stringify(line.fields)}</small>
            </span>
          </li>
        ))}
      </ol>
    </Card>
  )
}
