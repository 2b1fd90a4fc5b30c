import type { JSX } from 'preact'
import { known, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { AuditLines } from '../ui/audit-lines.tsx'
import { useLoaded } from '../ui/data.ts'
import { Card, Clock, Empty, ErrorLine, ListState, Tag } from '../ui/kit.tsx'
import type { LimbView } from './limb.tsx'

/** What was asked of it, and what was decided about it. */
export function LimbRecord({ nodeId }: LimbView): JSX.Element {
  const invocations = useLoaded(
    () => session.ask('invocation/list', { nodeId, limit: 50 }),
    [nodeId],
    [session.fleet.eventsChanged],
  )
  return (
    <div class="grid">
      <Card title={t('record.invocations')}>
        <ListState error={invocations.error} count={invocations.data?.items.length} none={t('record.none')} />
        <ol class="lines">
          {invocations.data?.items.map((item) => (
            <li key={item.invocationId}>
              <span>
                <span class="mono">{item.command}</span> · {item.principal}
                {item.error !== undefined && (
                  <>
                    <br />
                    <small>{item.error.message}</small>
                  </>
                )}
              </span>
              <span class="right">
                <Tag tone={`state-${item.state}`}>{known(`invocation.${item.state}`) ?? item.state}</Tag>
                <small>
                  <Clock at={item.createdAt} />
                </small>
              </span>
            </li>
          ))}
        </ol>
      </Card>
      {session.may('audit/list') && (
        <Card title={t('record.audit')}>
          <LimbAudit nodeId={nodeId} />
        </Card>
      )}
    </div>
  )
}

function LimbAudit({ nodeId }: { nodeId: string }): JSX.Element {
  const { data, error } = useLoaded(
    () => session.ask('audit/list', { nodeId, limit: 50 }),
    [nodeId],
    [session.fleet.eventsChanged],
  )
  if (error !== undefined) return <ErrorLine error={error} />
  if (data?.items.length === 0) return <Empty>{t('record.none')}</Empty>
  return <AuditLines rows={data?.items ?? []} />
}
