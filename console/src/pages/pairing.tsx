import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { PendingPairingRequest } from '../../../src/protocol/schemas.ts'
import { known, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { href } from '../router.ts'
import { setSound, soundOn } from '../ui/alerts.tsx'
import { useLoaded } from '../ui/data.ts'
import { Age, attempt, Button, Card, Empty, Icon, ListState } from '../ui/kit.tsx'
import { PairingRequestCard } from './pairing-request.tsx'
import { NewcomerSteps } from './pairing-steps.tsx'
import { PairingWindow } from './pairing-window.tsx'

/** Who asks to be let in; a request appears by itself. */
export function PairingPage(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.pairingChanged)
  const requests = [...fleet.pairing.values()].sort((a, b) => (a.requestedAt < b.requestedAt ? -1 : 1))
  return (
    <>
      <header class="page-head">
        <h1>{t('page.pairing')}</h1>
        <SoundButton />
        {session.may('node/provision') && (
          <a class="button" href={href('first')}>
            {t('limbs.add')}
          </a>
        )}
      </header>
      {requests.length === 0 && (
        <Empty icon="pairing">
          {t('pairing.none')} <a href={href('first')}>{t('pairing.how')}</a>
        </Empty>
      )}
      {byNode(requests).map((claims) => (
        <Claims key={claims[0]?.nodeId} claims={claims} />
      ))}
      <NewcomerSteps />
      <div class="grid">
        <PairingWindow />
        {session.may('pairing/forgive') && <RefusedKeys />}
      </div>
    </>
  )
}

/** Claims to one name stand side by side. */
function byNode(requests: readonly PendingPairingRequest[]): PendingPairingRequest[][] {
  const groups = new Map<string, PendingPairingRequest[]>()
  for (const request of requests) groups.set(request.nodeId, [...(groups.get(request.nodeId) ?? []), request])
  return [...groups.values()]
}

function Claims({ claims }: { claims: readonly PendingPairingRequest[] }): JSX.Element {
  const cards = claims.map((request) => (
    <PairingRequestCard key={`${request.requestId} ${request.revision}`} request={request} />
  ))
  if (claims.length < 2) return <>{cards}</>
  return (
    <section
      class="conflict"
      aria-label={t('pairing.conflict', { name: claims[0]?.nodeId ?? '', n: claims.length })}
    >
      <p class="error">
        <Icon name="warning" />
        {t('pairing.conflict', { name: claims[0]?.nodeId ?? '', n: claims.length })}
      </p>
      <div class="side-by-side">{cards}</div>
    </section>
  )
}

function SoundButton(): JSX.Element {
  const [on, setOn] = useState(soundOn())
  const press = () => {
    setSound(!on)
    setOn(!on)
  }
  return (
    <button type="button" class="button quiet" aria-pressed={on} onClick={press}>
      <Icon name={on ? 'bell' : 'bellOff'} />
      {t(on ? 'sound.on' : 'sound.off')}
    </button>
  )
}

function RefusedKeys(): JSX.Element {
  const { fleet } = session
  const { data, error, again } = useLoaded(
    () => session.ask('pairing/list', { state: 'refused', limit: 200 }),
    [],
    [fleet.pairingChanged],
  )
  // Several keys of one limb are forgiven together.
  const newest = new Map(
    (data?.items ?? []).flatMap((item) => ('why' in item ? [[item.nodeId, item] as const] : [])),
  )
  const items = [...newest.values()]
  const forgive = (nodeId: string) =>
    attempt(session.ask('pairing/forgive', { nodeId }), t('refused.forgiven', { name: nodeId })).then(again)
  return (
    <Card title={t('refused.title')}>
      <ListState error={error} count={data && items.length} none={t('refused.none')} />
      <ul class="lines">
        {items.map(({ nodeId, why, at, until }) => (
          <li key={nodeId}>
            <span>
              <strong class="mono">{nodeId}</strong> · {known(`refusal.${why}`) ?? why}
              <br />
              <small>
                <Age at={at} /> · {t('refused.until', { time: new Date(until).toLocaleString() })}
              </small>
            </span>
            <Button small onClick={() => forgive(nodeId)}>
              {t('refused.forgive')}
            </Button>
          </li>
        ))}
      </ul>
    </Card>
  )
}
