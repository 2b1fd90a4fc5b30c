import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { PendingApproval } from '../../../src/protocol/schemas.ts'
import { known, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { href } from '../router.ts'
import { useLoaded } from '../ui/data.ts'
import {
  attempt,
  Button,
  Card,
  Clock,
  confirmThen,
  Dialog,
  Empty,
  Json,
  ListState,
  Tag,
  TextField,
  TimeBar,
} from '../ui/kit.tsx'

/** What waits for a person, made for a thumb. What is decided is gone everywhere. */
export function ApprovalsPage(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.approvalsChanged)
  const waiting = [...fleet.approvals.values()].sort((a, b) => (a.expiresAt < b.expiresAt ? -1 : 1))
  return (
    <>
      <header class="page-head">
        <h1>{t('page.approvals')}</h1>
      </header>
      {waiting.length === 0 && <Empty icon="approvals">{t('approvals.none')}</Empty>}
      <div class="inbox">
        {waiting.map((approval) => (
          <ApprovalCard key={approval.invocationId} approval={approval} />
        ))}
      </div>
      <Decided />
    </>
  )
}

function ApprovalCard({ approval }: { approval: PendingApproval }): JSX.Element {
  const { fleet } = session
  const {
    invocationId,
    principal,
    nodeId,
    capability,
    command,
    requestedAt,
    expiresAt,
    paramsHash,
    callerAway,
  } = approval
  const [denying, setDenying] = useState(false)
  const limb = fleet.nodes.get(nodeId)?.displayName ?? nodeId
  const may = session.may('invocation/approve')
  const allow = () =>
    attempt(
      session.ask('invocation/approve', { invocationId, paramsHash }),
      t('approvals.allowed', { command }),
    )
  return (
    <Card tone="approval" title={<span class="mono">{command}</span>}>
      <p class="lead">
        <strong>{principal}</strong> {t('approvals.wants')} <a href={href('limb', nodeId)}>{limb}</a>
      </p>
      <p>
        <Tag tone={callerAway === true ? 'warn' : 'good'}>
          {t(callerAway === true ? 'approvals.away' : 'approvals.waits')}
        </Tag>{' '}
        <Tag>{capability}</Tag>
      </p>
      <TimeBar from={requestedAt} until={expiresAt} />
      <Params approval={approval} />
      <Earlier nodeId={nodeId} command={command} />
      {may && (
        <div class="decide">
          <Button kind="danger" onClick={() => setDenying(true)}>
            {t('approvals.deny')}
          </Button>
          <Button kind="primary" onClick={allow}>
            {t('approvals.once')}
          </Button>
          <Button onClick={() => askAlways(approval, limb)}>{t('approvals.always')}</Button>
        </div>
      )}
      {denying && <DenyDialog invocationId={invocationId} close={() => setDenying(false)} />}
    </Card>
  )
}

function askAlways(
  { invocationId, paramsHash, principal, nodeId, capability }: PendingApproval,
  limb: string,
): void {
  confirmThen({
    title: t('approvals.always'),
    danger: false,
    text: (
      <>
        <p>{t('approvals.always-text', { principal, limb })}</p>
        <p class="entry mono">{`${principal} / ${nodeId} / ${capability} → ${t('level.free')}`}</p>
        <p>{t('approvals.always-undo')}</p>
      </>
    ),
    action: t('approvals.always-do'),
    run: async () => {
      await attempt(session.ask('policy/set', { principal, nodeId, capability, level: 'free' }))
      await attempt(
        session.ask('invocation/approve', { invocationId, paramsHash }),
        t('approvals.always-done', { principal }),
      )
    },
  })
}

function Params({
  approval: { params, paramsStart, paramsBytes },
}: {
  approval: PendingApproval
}): JSX.Element {
  if (paramsStart !== undefined) {
    return (
      <>
        <pre class="json">{paramsStart}</pre>
        <small>{t('approvals.long', { n: paramsBytes })}</small>
      </>
    )
  }
  const entries =
    typeof params === 'object' && params !== null && !Array.isArray(params)
      ? Object.entries(params)
      : undefined
  if (entries === undefined) return <Json value={params} />
  if (entries.length === 0) return <p class="quiet">{t('approvals.no-params')}</p>
  return (
    <dl class="facts">
      {entries.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{typeof value === 'object' ? <code>{JSON.stringify(value)}</code> : String(value)}</dd>
        </div>
      ))}
    </dl>
  )
}

const EARLIER = 5

/** What was decided about the same command before. */
function Earlier({ nodeId, command }: { nodeId: string; command: string }): JSX.Element | null {
  const { data } = useLoaded(() => session.ask('invocation/list', { nodeId, limit: 100 }), [nodeId, command])
  const decided = (data?.items ?? []).filter(
    (item) => item.command === command && item.decidedBy !== undefined,
  )
  if (decided.length === 0) return null
  return (
    <details>
      <summary>{t('approvals.earlier', { n: decided.length })}</summary>
      <ul class="lines">
        {decided.slice(0, EARLIER).map((item) => (
          <li key={item.invocationId}>
            <span>
              {item.decidedBy} · {item.principal}
              {item.reason !== undefined && <small> „{item.reason}“</small>}
            </span>
            <span class="right">
              <Tag tone={`state-${item.state}`}>{known(`invocation.${item.state}`) ?? item.state}</Tag>
              <small>
                <Clock at={item.createdAt} />
              </small>
            </span>
          </li>
        ))}
      </ul>
    </details>
  )
}

function DenyDialog({ invocationId, close }: { invocationId: string; close: () => void }): JSX.Element {
  const [reason, setReason] = useState('')
  const deny = async () => {
    const given = reason.trim() === '' ? {} : { reason: reason.trim() }
    await attempt(session.ask('invocation/deny', { invocationId, ...given }), t('approvals.denied'))
    close()
  }
  return (
    <Dialog title={t('approvals.deny')} onClose={close}>
      <TextField
        label={t('approvals.reason')}
        value={reason}
        onInput={setReason}
        maxLength={200}
        hint={t('approvals.reason-hint')}
        autofocus
      />
      <footer>
        <Button onClick={close}>{t('cancel')}</Button>
        <Button kind="danger" onClick={deny}>
          {t('approvals.deny')}
        </Button>
      </footer>
    </Dialog>
  )
}

function Decided(): JSX.Element {
  const { data, error } = useLoaded(
    () => session.ask('invocation/list', { limit: 100 }),
    [],
    [session.fleet.approvalsChanged],
  )
  const items = (data?.items ?? []).filter((item) => item.level === 'gated' && item.decidedBy !== undefined)
  return (
    <Card title={t('approvals.last')}>
      <ListState error={error} count={data && items.length} none={t('approvals.last-none')} />
      <ul class="lines">
        {items.slice(0, 20).map((item) => (
          <li key={item.invocationId}>
            <span>
              <span class="mono">{item.command}</span> · <a href={href('limb', item.nodeId)}>{item.nodeId}</a>
              <br />
              <small>
                {item.principal} · {t('approvals.by', { name: item.decidedBy ?? '' })}
                {item.reason !== undefined && ` · „${item.reason}“`}
              </small>
            </span>
            <span class="right">
              <Tag tone={`state-${item.state}`}>{known(`invocation.${item.state}`) ?? item.state}</Tag>
              <small>
                <Clock at={item.endedAt ?? item.createdAt} />
              </small>
            </span>
          </li>
        ))}
      </ul>
    </Card>
  )
}
