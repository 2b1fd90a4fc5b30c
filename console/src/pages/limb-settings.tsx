import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { PRESENCE_MODES } from '../../../src/protocol/presence.ts'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { go, href } from '../router.ts'
import { attempt, Button, Card, CopyButton, confirmThen, Dialog, SelectField, TextField } from '../ui/kit.tsx'
import type { LimbView } from './limb.tsx'

/** Name, room, presence, key, and the end of the pairing. */
export function LimbSettings({ nodeId, state }: LimbView): JSX.Element {
  const [key, setKey] = useState<{ readonly apiKey: string; readonly toldToLimb: boolean } | undefined>()
  return (
    <div class="grid">
      <NameCard nodeId={nodeId} displayName={state.displayName} />
      <PresenceCard nodeId={nodeId} />
      <Card title={t('key.title')}>
        <p>{t('key.rotate-text')}</p>
        <p class="act">
          <Button
            onClick={() => attempt(session.ask('node/rotate-key', { nodeId })).then(setKey, () => undefined)}
          >
            {t('key.rotate')}
          </Button>
          <Button
            kind="danger"
            onClick={() =>
              confirmThen({
                title: t('key.stolen'),
                text: <p>{t('key.stolen-text')}</p>,
                action: t('key.stolen'),
                run: () => attempt(session.ask('node/rotate-key', { nodeId, immediate: true })).then(setKey),
              })
            }
          >
            {t('key.stolen')}
          </Button>
        </p>
        {key !== undefined && (
          <KeyDialog apiKey={key.apiKey} told={key.toldToLimb} close={() => setKey(undefined)} />
        )}
      </Card>
      <ReplaceCard nodeId={nodeId} />
      <Card title={t('revoke.title')} tone="danger">
        <p>{t('revoke.text')}</p>
        <p class="act">
          <Button
            kind="danger"
            onClick={() =>
              confirmThen({
                title: t('revoke.sure', { name: state.displayName }),
                text: <p>{t('revoke.text')}</p>,
                action: t('limb.revoke'),
                run: () =>
                  attempt(session.ask('node/revoke', { nodeId }), t('revoke.done', { name: nodeId })).then(
                    () => go('limbs'),
                  ),
              })
            }
          >
            {t('limb.revoke')}
          </Button>
        </p>
      </Card>
    </div>
  )
}

function NameCard({ nodeId, displayName }: { nodeId: string; displayName: string }): JSX.Element {
  const area = session.fleet.descriptions.get(nodeId)?.area ?? ''
  // What nobody has typed here is as the bridge tells it, also when that comes later than the page.
  const [typedName, setName] = useState<string>()
  const [typedRoom, setRoom] = useState<string>()
  const name = typedName ?? displayName
  const room = typedRoom ?? area
  const save = async () => {
    if (name.trim() !== '' && name !== displayName)
      await attempt(session.ask('node/rename', { nodeId, displayName: name.trim() }))
    if (room !== area)
      await attempt(session.ask('node/set', { nodeId, area: room.trim() === '' ? null : room.trim() }))
    await attempt(Promise.resolve(), t('saved'))
    setName(undefined)
    setRoom(undefined)
  }
  return (
    <Card title={t('name.title')}>
      <TextField label={t('name')} value={name} onInput={setName} maxLength={100} />
      <TextField label={t('area')} value={room} onInput={setRoom} hint={t('area.hint')} maxLength={100} />
      <p class="act">
        <Button kind="primary" onClick={save}>
          {t('save')}
        </Button>
      </p>
    </Card>
  )
}

function PresenceCard({ nodeId }: { nodeId: string }): JSX.Element {
  const [mode, setMode] = useState('')
  const [heartbeat, setHeartbeat] = useState('')
  const [timeout, setTimeoutSeconds] = useState('')
  const save = () => {
    const wanted = PRESENCE_MODES.find((each) => each === mode)
    return attempt(
      session
        .ask('node/set', {
          nodeId,
          presence: wanted ?? null,
          heartbeatSeconds: heartbeat === '' ? null : Number(heartbeat),
          timeoutSeconds: timeout === '' ? null : Number(timeout),
        })
        .then((now) => {
          setHeartbeat(String(now.heartbeatSeconds))
          setTimeoutSeconds(String(now.timeoutSeconds))
        }),
      t('saved'),
    )
  }
  return (
    <Card title={t('presence.title')}>
      <p class="quiet">{t('presence.text')}</p>
      <SelectField
        label={t('presence.mode')}
        value={mode}
        onChange={setMode}
        options={[
          ['', t('presence.as-asked')],
          ...PRESENCE_MODES.map((each) => [each, t(`presence.${each}`)] as const),
        ]}
      />
      <TextField
        label={t('presence.every')}
        value={heartbeat}
        onInput={setHeartbeat}
        type="number"
        placeholder={t('presence.as-asked')}
      />
      <TextField
        label={t('presence.timeout')}
        value={timeout}
        onInput={setTimeoutSeconds}
        type="number"
        placeholder={t('presence.as-asked')}
      />
      <p class="act">
        <Button kind="primary" onClick={save}>
          {t('save')}
        </Button>
      </p>
    </Card>
  )
}

/** A new device asks for the name of the old one: the card says how, and whether one has asked. */
function ReplaceCard({ nodeId }: { nodeId: string }): JSX.Element {
  const { fleet } = session
  useSignals(fleet.pairingChanged)
  const asks = [...fleet.pairing.values()].some(
    (request) => request.nodeId === nodeId && request.kind === 'replace',
  )
  return (
    <Card title={t('replace.title')}>
      <p>{t('replace.text')}</p>
      <p role="status" class={asks ? 'note' : 'quiet'}>
        {t(asks ? 'replace.asks' : 'replace.waits')}
      </p>
      <p class="act">
        {asks ? (
          <a class="button primary" href={href('pairing')}>
            {t('replace.compare')}
          </a>
        ) : (
          <a class="button" href={href('first', nodeId)}>
            {t('pairing.how')}
          </a>
        )}
      </p>
    </Card>
  )
}

function KeyDialog({
  apiKey,
  told,
  close,
}: {
  apiKey: string
  told: boolean
  close: () => void
}): JSX.Element {
  return (
    <Dialog title={t('key.new')} onClose={close}>
      <p>{t(told ? 'key.told' : 'key.not-told')}</p>
      <p class="secret">
        <code>{apiKey}</code>
        <CopyButton text={apiKey} />
      </p>
      <footer>
        <Button kind="primary" onClick={close}>
          {t('key.kept')}
        </Button>
      </footer>
    </Dialog>
  )
}
