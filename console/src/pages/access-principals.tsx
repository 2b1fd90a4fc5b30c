import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ROLES, type Role } from '../../../src/protocol/names.ts'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useLoaded } from '../ui/data.ts'
import {
  Age,
  attempt,
  Button,
  Card,
  CopyButton,
  confirmThen,
  Dialog,
  ErrorLine,
  SelectField,
  TextField,
} from '../ui/kit.tsx'

type Principal = VerbResult<'principal/list'>['items'][number]

export interface ToldOnce {
  readonly title: string
  readonly secret: string
}

/** People and programs that sign in. */
export function AccessPrincipals(): JSX.Element {
  const { data, error, again } = useLoaded(() => session.ask('principal/list', { limit: 1000 }), [])
  const [told, setTold] = useState<ToldOnce>()
  return (
    <div class="grid wide-first">
      <Card title={t('access.principals')}>
        {error !== undefined && <ErrorLine error={error} />}
        <table class="stacks">
          <thead>
            <tr>
              <th scope="col">{t('name')}</th>
              <th scope="col">{t('role')}</th>
              <th scope="col">{t('since')}</th>
              <th scope="col">
                <span class="unseen">{t('actions')}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {data?.items.map((principal) => (
              <PrincipalRow key={principal.name} principal={principal} again={again} tell={setTold} />
            ))}
          </tbody>
        </table>
      </Card>
      <AddPrincipal again={again} tell={setTold} />
      {told !== undefined && <SecretDialog told={told} close={() => setTold(undefined)} />}
    </div>
  )
}

interface PrincipalRowProps {
  readonly principal: Principal
  readonly again: () => void
  readonly tell: (told: ToldOnce) => void
}

function PrincipalRow({
  principal: { name, role, createdAt, createdBy },
  again,
  tell,
}: PrincipalRowProps): JSX.Element {
  const setRole = (next: Role) =>
    attempt(
      session.ask('principal/set-role', { name, role: next }),
      t('access.role-set', { name, role: t(`role.${next}`) }),
    )
      .finally(again)
      .catch(() => undefined)
  const password = () =>
    confirmThen({
      title: t('access.password-title', { name }),
      text: <p>{t('access.password-text')}</p>,
      action: t('access.password'),
      run: () =>
        attempt(session.ask('principal/set-password', { name })).then((made) =>
          tell({ title: t('access.password-of', { name }), secret: made.password ?? '' }),
        ),
    })
  const remove = () =>
    confirmThen({
      title: t('access.remove-title', { name }),
      text: <p>{t('access.remove-text')}</p>,
      action: t('remove'),
      run: () =>
        attempt(session.ask('principal/remove', { name }), t('access.removed', { name })).then(again),
    })
  return (
    <tr>
      <th scope="row">{name}</th>
      <td data-label={t('role')}>
        <select
          aria-label={t('access.role-of', { name })}
          value={role}
          onChange={(event) => setRole(ROLES.find((each) => each === event.currentTarget.value) ?? role)}
        >
          {ROLES.map((each) => (
            <option key={each} value={each}>
              {t(`role.${each}`)}
            </option>
          ))}
        </select>
      </td>
      <td data-label={t('since')}>
        <Age at={createdAt} /> <small>{createdBy}</small>
      </td>
      <td class="buttons">
        <Button small onClick={password}>
          {t('access.password')}
        </Button>
        <Button small kind="danger" onClick={remove}>
          {t('remove')}
        </Button>
      </td>
    </tr>
  )
}

function AddPrincipal({ again, tell }: { again: () => void; tell: (told: ToldOnce) => void }): JSX.Element {
  const [name, setName] = useState('')
  const [role, setRole] = useState<Role>('viewer')
  const add = async () => {
    const made = await attempt(session.ask('principal/add', { name: name.trim(), role }))
    setName('')
    again()
    tell({ title: t('access.password-of', { name: made.name }), secret: made.password ?? '' })
  }
  return (
    <Card title={t('access.add')}>
      <TextField label={t('name')} value={name} onInput={setName} maxLength={63} autocomplete="off" />
      <SelectField
        label={t('role')}
        value={role}
        onChange={(value) => setRole(ROLES.find((each) => each === value) ?? 'viewer')}
        options={ROLES.map((each) => [each, t(`role.${each}`)] as const)}
      />
      <p class="quiet">{t(`role.text.${role}`)}</p>
      <p class="act">
        <Button kind="primary" onClick={add} disabled={name.trim() === ''}>
          {t('access.add-do')}
        </Button>
      </p>
    </Card>
  )
}

/** A secret that is told once. */
export function SecretDialog({ told, close }: { told: ToldOnce; close: () => void }): JSX.Element {
  return (
    <Dialog title={told.title} onClose={close}>
      <p>{t('secret.once')}</p>
      <p class="secret">
        <code>{told.secret}</code>
        <CopyButton text={told.secret} />
      </p>
      <footer>
        <Button kind="primary" onClick={close}>
          {t('key.kept')}
        </Button>
      </footer>
    </Dialog>
  )
}
