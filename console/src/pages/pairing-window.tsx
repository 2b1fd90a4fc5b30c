import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { State } from '../../../src/protocol/schemas.ts'
import { durationText, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { href } from '../router.ts'
import { Age, attempt, Button, Card, confirmThen, SelectField, useTick } from '../ui/kit.tsx'
import { Switch } from '../ui/schema-form.tsx'

/** The pairing window: a switch with a countdown, and those whom it let in, each with a way back. */

const MINUTES = [1, 5, 15, 60] as const
const DAY_MS = 86_400_000
const BY_WINDOW = 'window:'

export function PairingWindow(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.infoChanged, fleet.nodesChanged)
  const [minutes, setMinutes] = useState('5')
  const open = fleet.info?.pairingWindow
  const may = session.may('pairing/permit')
  const set = (on: boolean) =>
    attempt(session.ask('pairing/permit', { seconds: on ? Number(minutes) * 60 : 0 })).catch(() => undefined)
  const admitted = [...fleet.nodes.values()]
    .filter(isAdmitted)
    .sort((a, b) => (a.approvedAt < b.approvedAt ? 1 : -1))
  return (
    <Card title={t('window.title')}>
      <p class="quiet">{t('window.text')}</p>
      <div class="window">
        <Switch label={t('window.switch')} on={open !== undefined} onChange={set} disabled={!may} />
        {open === undefined ? (
          <SelectField
            label={t('window.how-long')}
            value={minutes}
            onChange={setMinutes}
            options={MINUTES.map((each) => [String(each), durationText(each * 60)] as const)}
          />
        ) : (
          <Countdown until={open.until} />
        )}
      </div>
      {admitted.length > 0 && (
        <>
          <h3>{t('window.admitted')}</h3>
          <ul class="lines">
            {admitted.slice(0, 50).map((state) => (
              <Admitted key={state.nodeId} state={state} />
            ))}
          </ul>
        </>
      )}
    </Card>
  )
}

function isAdmitted({ approvedBy, approvedAt }: State): boolean {
  return approvedBy.startsWith(BY_WINDOW) && Date.now() - new Date(approvedAt).getTime() < DAY_MS
}

function Countdown({ until }: { until: string }): JSX.Element {
  useTick()
  const left = Math.max(0, Math.round((new Date(until).getTime() - Date.now()) / 1000))
  const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`
  return (
    <p class="countdown" role="timer" aria-label={t('time.left', { duration: durationText(left) })}>
      {text}
    </p>
  )
}

function Admitted({ state: { nodeId, displayName, approvedAt, approvedBy } }: { state: State }): JSX.Element {
  const undo = () =>
    confirmThen({
      title: t('window.undo-title', { name: displayName }),
      text: <p>{t('revoke.text')}</p>,
      action: t('window.undo'),
      run: () => attempt(session.ask('node/revoke', { nodeId }), t('revoke.done', { name: nodeId })),
    })
  return (
    <li>
      <span>
        <a href={href('limb', nodeId)}>{displayName}</a>
        <br />
        <small>
          <span class="mono">{nodeId}</span> · <Age at={approvedAt} /> ·{' '}
          {t('window.by', { name: approvedBy.slice(BY_WINDOW.length) })}
        </small>
      </span>
      {session.may('node/revoke') && (
        <Button small onClick={undo}>
          {t('window.undo')}
        </Button>
      )}
    </li>
  )
}
