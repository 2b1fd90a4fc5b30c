import type { JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { encode } from 'uqr'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { href } from '../router.ts'
import { Card, CopyButton, Facts, Icon, TextField } from '../ui/kit.tsx'
import { NewcomerSteps } from './pairing-steps.tsx'
import { type Place, SNIPPETS } from './snippets.ts'

/** The way of a first device: where it connects, as text and as a picture, and programs that do it. */

const LOOPBACK = ['127.0.0.1', 'localhost', '::1', '[::1]']
const ANY = ['0.0.0.0', '::', '']

/** `id`: the name that the device shall ask for, when it takes the place of another. */
export function FirstDevicePage({ id }: { id: string }): JSX.Element {
  const { fleet, facts } = session
  useSignals(fleet.pairingChanged)
  const [host, setHost] = useState(location.hostname)
  const [nodeId, setNodeId] = useState(nameIn(id) || 'my-first-limb')
  const [shown, setShown] = useState(0)
  const place: Place = { host, port: facts.mqtt.port, root: facts.topicRoot, nodeId }
  const address = `mqtt://${host}:${place.port}`
  const onlyHere = LOOPBACK.includes(facts.mqtt.host) && !ANY.includes(facts.mqtt.host)
  const snippet = SNIPPETS[shown] ?? SNIPPETS[0]
  const text = snippet?.make(place) ?? ''
  return (
    <>
      <header class="page-head">
        <h1>{t('device.title')}</h1>
      </header>
      {fleet.pairing.size > 0 && (
        <p class="note big apart">
          <Icon name="pairing" />{' '}
          <a href={href('pairing')}>{t('today.pairing', { n: fleet.pairing.size })}</a>
        </p>
      )}
      <NewcomerSteps />
      <div class="grid">
        <Card title={t('device.where')}>
          {onlyHere && (
            <p class="error">
              <Icon name="warning" />
              <span>{t('device.loopback')}</span>
            </p>
          )}
          <div class="address">
            <Qr text={address} />
            <div>
              <p class="big mono">{address}</p>
              <CopyButton text={address} />
              <Facts
                rows={[
                  [t('device.host'), <span class="mono">{host}</span>],
                  [t('device.port'), <span class="mono">{place.port}</span>],
                  facts.tls !== null && [t('device.tls'), <span class="mono">{facts.tls.port}</span>],
                  [t('device.user'), <span class="mono">{nodeId}</span>],
                  [t('device.password'), t('device.own-key')],
                ]}
              />
            </div>
          </div>
          <div class="two">
            <TextField label={t('device.host')} value={host} onInput={setHost} hint={t('device.host-hint')} />
            <TextField
              label="nodeId"
              value={nodeId}
              onInput={(text) => setNodeId(nameIn(text))}
              maxLength={63}
            />
          </div>
        </Card>
        <Card title={t('device.steps')}>
          <ol class="plain-steps">
            <li>{t('device.step1')}</li>
            <li>{t('device.step2')}</li>
            <li>
              {t('device.step3')} <a href={href('pairing')}>{t('page.pairing')}</a>
            </li>
          </ol>
        </Card>
      </div>
      <Card title={t('device.programs')}>
        <div class="tabs" role="tablist" aria-label={t('device.programs')}>
          {SNIPPETS.map(({ name }, index) => (
            <button
              key={name}
              type="button"
              role="tab"
              aria-selected={index === shown}
              tabIndex={index === shown ? 0 : -1}
              onClick={() => setShown(index)}
              onKeyDown={(event) => turn(event, index, setShown)}
            >
              {name}
            </button>
          ))}
        </div>
        <div class="snippet" role="tabpanel" aria-label={snippet?.name}>
          <CopyButton text={text} />
          <pre tabIndex={0}>{text}</pre>
        </div>
      </Card>
    </>
  )
}

/** What of a text may be a nodeId: it goes into programs that somebody runs. */
function nameIn(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_-]/g, '').slice(0, 63)
}

function turn(event: KeyboardEvent, index: number, show: (index: number) => void): void {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0
  if (step === 0 || !(event.currentTarget instanceof HTMLElement)) return
  const next = (index + step + SNIPPETS.length) % SNIPPETS.length
  show(next)
  ;(event.currentTarget.parentElement?.children[next] as HTMLElement | undefined)?.focus()
}

function Qr({ text }: { text: string }): JSX.Element {
  const { data, size } = useMemo(() => encode(text, { border: 2 }), [text])
  const path = data.flatMap((row, y) => row.map((on, x) => (on ? `M${x} ${y}h1v1h-1z` : ''))).join('')
  return (
    <svg
      class="qr"
      viewBox={`0 0 ${size} ${size}`}
      role="img"
      aria-label={t('device.qr', { text })}
      shape-rendering="crispEdges"
    >
      <rect width={size} height={size} class="paper" />
      <path d={path} />
    </svg>
  )
}
