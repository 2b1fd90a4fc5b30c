import type { JSX } from 'preact'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { useLoaded } from '../ui/data.ts'
import { Age, attempt, Button, Card, Clock, Empty, ErrorLine, Facts, Tag } from '../ui/kit.tsx'

/** The bridge itself: is it well, since when, with whom. */
export function SystemPage(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.infoChanged)
  const health = useLoaded(() => session.ask('bridge/health'), [], [fleet.infoChanged])
  const { data } = health
  const { info } = fleet
  const back = () =>
    attempt(session.ask('backup/create', {}, 600_000), t('backup.made'))
      .then(health.again)
      .catch(() => undefined)
  return (
    <>
      <header class="page-head">
        <h1>{t('page.system')}</h1>
      </header>
      <div class="grid">
        <Card title={t('system.health')}>
          {health.error !== undefined && <ErrorLine error={health.error} />}
          {data !== undefined && (
            <>
              <p class="lead">
                <Tag tone={data.ready ? 'good' : 'bad'}>
                  {t(data.ready ? 'system.ready' : 'system.not-ready')}
                </Tag>
              </p>
              <ul class="advice">
                {data.reasons.map((text) => (
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
        <Card title={t('system.uplinks')}>
          {data?.uplinks.length === 0 && <Empty>{t('system.no-uplinks')}</Empty>}
          <ul class="lines">
            {data?.uplinks.map(({ name, connected }) => (
              <li key={name}>
                <span>{name}</span>
                <Tag tone={connected ? 'good' : 'bad'}>
                  {t(connected ? 'system.connected' : 'system.disconnected')}
                </Tag>
              </li>
            ))}
          </ul>
        </Card>
        <Card title={t('system.backups')}>
          <Facts
            rows={[
              [
                t('backup.last'),
                data?.lastBackupAt === null || data === undefined ? (
                  t('never')
                ) : (
                  <Clock at={data.lastBackupAt} />
                ),
              ],
            ]}
          />
          {session.may('backup/create') && (
            <p class="act">
              <Button onClick={back}>{t('backup.create')}</Button>
            </p>
          )}
        </Card>
      </div>
    </>
  )
}
