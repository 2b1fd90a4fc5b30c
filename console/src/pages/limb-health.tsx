import type { JSX } from 'preact'
import type { State } from '../../../src/protocol/schemas.ts'
import { known, numberText, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import type { Values } from '../live/values.ts'
import { useLoaded } from '../ui/data.ts'
import { Age, Button, Card, Clock, Empty, ErrorLine, Facts, Icon, ListState, Status } from '../ui/kit.tsx'
import { historyOf, Strip } from '../ui/uptime.tsx'

interface LimbHealthProps {
  readonly nodeId: string
  readonly state: State | undefined
  readonly values: Values | undefined
}

/** How it is, why, and how it was. */
export function LimbHealth({ nodeId, state }: LimbHealthProps): JSX.Element {
  return (
    <div class="grid">
      {session.may('node/why') && <Why nodeId={nodeId} />}
      {state !== undefined && <Past nodeId={nodeId} />}
      {state !== undefined && <Leases nodeId={nodeId} />}
    </div>
  )
}

function Why({ nodeId }: { nodeId: string }): JSX.Element {
  const { fleet } = session
  const { data, error, again } = useLoaded(
    () => session.ask('node/why', { nodeId }),
    [nodeId],
    [fleet.nodeChanged(nodeId), fleet.pairingChanged],
  )
  return (
    <Card
      title={t('why.title')}
      actions={
        <Button small kind="quiet" label={t('refresh')} onClick={again}>
          <Icon name="refresh" />
        </Button>
      }
    >
      {error !== undefined && <ErrorLine error={error} />}
      {data !== undefined && (
        <>
          <ul class="advice">
            {data.advice.map((sentence) => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
          <Facts
            rows={[
              data.session === undefined
                ? [t('why.session'), t('why.no-session')]
                : [
                    t('why.session'),
                    <>
                      <span class="mono">{data.session.address}</span> · {t(`why.as.${data.session.as}`)}
                      {data.session.version === undefined ? '' : ` · MQTT ${data.session.version}`}
                      <br />
                      <small class="mono">{data.session.clientId}</small>
                    </>,
                  ],
              data.session?.since !== undefined && [t('why.since'), <Age at={data.session.since} />],
              data.heartbeatDueAt !== undefined && [t('why.due'), <Clock at={data.heartbeatDueAt} />],
              data.lastRefusedSignIn !== undefined && [t('why.refused'), refusal(data.lastRefusedSignIn)],
              data.lastRefusedRegistration !== undefined && [
                t('why.registration'),
                refusal(data.lastRefusedRegistration),
              ],
              data.lastDenied !== undefined && [
                t('why.denied'),
                <>
                  {data.lastDenied.what} <span class="mono">{data.lastDenied.topic}</span>
                  <br />
                  <small>
                    <Age at={data.lastDenied.at} />
                  </small>
                </>,
              ],
              (data.refused?.length ?? 0) > 0 && [
                t('why.keys'),
                data.refused?.map((item) => (
                  <p key={item.at}>
                    {known(`refusal.${item.why}`) ?? item.why} · <Age at={item.at} />
                  </p>
                )),
              ],
            ]}
          />
        </>
      )}
    </Card>
  )
}

function refusal({ at, address, reason }: { at: string; address: string; reason: string }): JSX.Element {
  return (
    <>
      {reason}
      <br />
      <small>
        <span class="mono">{address}</span> · <Age at={at} />
      </small>
    </>
  )
}

function Past({ nodeId }: { nodeId: string }): JSX.Element {
  const { data, error } = useLoaded(() => historyOf(nodeId), [nodeId])
  return (
    <Card title={t('past.title')}>
      {error !== undefined && <ErrorLine error={error} />}
      {data !== undefined && (
        <>
          <div class="strips">
            <span>{t('uptime.day')}</span>
            <Strip history={data} hours={24} />
            <span>{t('uptime.month')}</span>
            <Strip history={data} hours={720} />
          </div>
          {data.uptimePercent !== undefined && (
            <p class="quiet">{t('past.uptime', { percent: numberText(data.uptimePercent) })}</p>
          )}
          <ol class="changes">
            {data.items.slice(0, 30).map(({ at, status, reason }) => (
              <li key={at}>
                <Status status={status} />
                <span>{known(`reason.${status}.${reason}`) ?? known(`reason.${reason}`) ?? reason}</span>
                <Clock at={at} />
              </li>
            ))}
          </ol>
          {data.items.length === 0 && <Empty>{t('past.none')}</Empty>}
        </>
      )}
    </Card>
  )
}

function Leases({ nodeId }: { nodeId: string }): JSX.Element {
  const { data, error, again } = useLoaded(
    () => session.ask('lease/list', { nodeId }),
    [nodeId],
    [session.fleet.eventsChanged],
  )
  const mayEnd = session.reaches('operator')
  return (
    <Card title={t('lease.title')}>
      <ListState error={error} count={data?.items.length} none={t('lease.none')} />
      <ul class="lines">
        {data?.items.map(({ leaseId, principal, capability, expiresAt, queued }) => (
          <li key={leaseId}>
            <span>
              <strong>{principal}</strong> · <span class="mono">{capability}</span>
              <br />
              <small>
                {t('lease.until')} <Clock at={expiresAt} /> {queued > 0 && t('lease.queued', { n: queued })}
              </small>
            </span>
            {(mayEnd || principal === session.name) && session.may('lease/release') && (
              <Button small onClick={() => session.ask('lease/release', { leaseId }).then(again)}>
                {t('lease.end')}
              </Button>
            )}
          </li>
        ))}
      </ul>
    </Card>
  )
}
