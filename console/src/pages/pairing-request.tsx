import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { type AuthLevel, LEVELS } from '../../../src/protocol/names.ts'
import type { AddedCommand, PendingPairingRequest } from '../../../src/protocol/schemas.ts'
import { known, t } from '../i18n/index.ts'
import { own } from '../live/own.ts'
import { session } from '../live/session.ts'
import { Age, attempt, Button, Card, confirmThen, Facts, Icon, Level, Tag, TextField } from '../ui/kit.tsx'
import { rememberNewcomer } from './pairing-steps.tsx'

/** One request to be let in: who, from where, what it may do then, and the code that has to be the device's. */

const TYPED = 4

export function PairingRequestCard({ request }: { request: PendingPairingRequest }): JSX.Element {
  const { kind, nodeId, displayName, platform, firmware, address, requestedAt, endpointUrl, code } = request
  return (
    <Card
      tone="request"
      title={
        <>
          {displayName} <Tag tone={kind === 'new' ? '' : 'warn'}>{t(`pairing.kind.${kind}`)}</Tag>
        </>
      }
    >
      {kind !== 'new' && <p class="note">{t(`pairing.text.${kind}`)}</p>}
      {code !== undefined && <Code code={code} />}
      <Facts
        rows={[
          ['nodeId', <span class="mono">{nodeId}</span>],
          [t('platform'), firmware === undefined ? platform : `${platform} · ${firmware}`],
          [t('address'), <span class="mono">{address}</span>],
          endpointUrl !== undefined && [t('endpoint'), <span class="mono">{endpointUrl}</span>],
          [t('pairing.asked'), <Age at={requestedAt} />],
        ]}
      />
      {kind === 'widen' && <Difference request={request} />}
      {session.may('pairing/approve') ? <Decide request={request} /> : <Abilities request={request} />}
    </Card>
  )
}

function Code({ code }: { code: string }): JSX.Element {
  return (
    <p class="code">
      <span class="unseen">{t('pairing.code', { code: [...code].join(' ') })}</span>
      <span aria-hidden="true">
        {code.slice(0, TYPED)}
        <wbr />
        <b>{code.slice(TYPED)}</b>
      </span>
    </p>
  )
}

function Difference({ request: { adds, loosens } }: { request: PendingPairingRequest }): JSX.Element {
  return (
    <div class="difference">
      <h3>{t('pairing.difference')}</h3>
      <ul>
        {adds.map((command) => (
          <li key={nameOf(command)} class="added">
            + <CommandWords command={command} />
          </li>
        ))}
        {loosens.map(({ capability, from, to }) => (
          <li key={capability} class="loosened">
            <span class="mono">{capability}</span> <Level level={from} /> → <Level level={to} />
          </li>
        ))}
      </ul>
    </div>
  )
}

function nameOf(command: AddedCommand): string {
  return typeof command === 'string' ? command : command.name
}

function CommandWords({ command }: { command: AddedCommand }): JSX.Element {
  if (typeof command === 'string') return <span class="mono">{command}</span>
  return (
    <>
      <span class="mono">{command.name}</span>
      {command.title !== undefined && ` ${command.title}`}
      {command.description !== undefined && <small> {command.description}</small>}
    </>
  )
}

interface AbilitiesProps {
  readonly request: PendingPairingRequest
  readonly levels?: Readonly<Record<string, AuthLevel>>
  readonly setLevel?: (capability: string, level: AuthLevel) => void
}

/** Every capability with its commands and level; an operator may make a level stricter. */
function Abilities({ request, levels = {}, setLevel }: AbilitiesProps): JSX.Element {
  const described = new Map(request.adds.map((command) => [nameOf(command), command]))
  if (request.capabilities.length === 0) return <p class="quiet">{t('pairing.no-abilities')}</p>
  return (
    <table class="abilities stacks">
      <thead>
        <tr>
          <th scope="col">{t('capability')}</th>
          <th scope="col">{t('limb.commands')}</th>
          <th scope="col">{t('level')}</th>
        </tr>
      </thead>
      <tbody>
        {request.capabilities.map(({ cap, commands, authLevel }) => (
          <tr key={cap}>
            <th scope="row" class="mono">
              {cap}
            </th>
            <td>
              {commands.map((command) => (
                <div key={command}>
                  <CommandWords command={described.get(command) ?? command} />
                </div>
              ))}
            </td>
            <td data-label={t('level')}>
              {setLevel === undefined ? (
                <Level level={authLevel} />
              ) : (
                <select
                  aria-label={t('policy.level-of', { principal: t('everybody'), capability: cap })}
                  value={own(levels, cap) ?? authLevel}
                  onChange={(event) =>
                    setLevel(cap, LEVELS.find((each) => each === event.currentTarget.value) ?? authLevel)
                  }
                >
                  {LEVELS.slice(LEVELS.indexOf(authLevel)).map((each) => (
                    <option key={each} value={each}>
                      {t(`level.${each}`)}
                    </option>
                  ))}
                </select>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Decide({ request }: { request: PendingPairingRequest }): JSX.Element {
  const { requestId, revision, kind, nodeId, displayName, code } = request
  const [typed, setTyped] = useState('')
  const [name, setName] = useState(displayName)
  const [area, setArea] = useState('')
  const [levels, setLevels] = useState<Readonly<Record<string, AuthLevel>>>({})
  const wanted = code?.slice(TYPED)
  const clean = typed.trim().toUpperCase()
  const wrong = wanted !== undefined && clean.length >= TYPED && clean !== wanted
  const ready = wanted === undefined || clean === wanted
  const approve = async () => {
    const changes = Object.entries(levels).filter(
      ([cap, level]) => request.capabilities.find((each) => each.cap === cap)?.authLevel !== level,
    )
    await attempt(
      session.ask('pairing/approve', {
        requestId,
        revision,
        ...(code === undefined ? {} : { code }),
        ...(kind === 'widen' || name.trim() === displayName || name.trim() === ''
          ? {}
          : { displayName: name.trim() }),
        ...(kind === 'widen' || area.trim() === '' ? {} : { area: area.trim() }),
        ...(changes.length === 0 ? {} : { levels: Object.fromEntries(changes) }),
      }),
      t('pairing.approved', { name: nodeId }),
    )
    rememberNewcomer(nodeId)
  }
  const reject = () =>
    confirmThen({
      title: t('pairing.reject-title', { name: displayName }),
      text: <p>{t(kind === 'widen' ? 'pairing.reject-widening' : 'pairing.reject-text')}</p>,
      action: t('pairing.reject'),
      run: () =>
        attempt(session.ask('pairing/reject', { requestId }), t('pairing.rejected', { name: nodeId })),
    })
  const setLevel = (cap: string, level: AuthLevel) => setLevels({ ...levels, [cap]: level })
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (ready) void approve().catch(() => undefined)
      }}
    >
      <Abilities request={request} levels={levels} setLevel={setLevel} />
      {kind !== 'widen' && (
        <div class="two">
          <TextField label={t('name')} value={name} onInput={setName} maxLength={100} />
          <TextField
            label={t('area')}
            value={area}
            onInput={setArea}
            placeholder={t('area.hint')}
            maxLength={100}
          />
        </div>
      )}
      {wanted !== undefined && (
        <div class="typed">
          <TextField
            label={t('pairing.type')}
            value={typed}
            onInput={setTyped}
            maxLength={TYPED + 4}
            hint={t('pairing.type-hint')}
            autocomplete="off"
          />
          {wrong && (
            <p class="error" role="alert">
              <Icon name="warning" />
              {t('pairing.wrong-code')}
            </p>
          )}
        </div>
      )}
      <p class="act">
        <button type="submit" class="button primary" disabled={!ready}>
          <Icon name="check" />
          {t('pairing.approve')}
        </button>
        <Button kind="danger" onClick={reject}>
          {t('pairing.reject')}
        </Button>
        {request.conflict && <small>{known('pairing.conflict-short')}</small>}
      </p>
    </form>
  )
}
