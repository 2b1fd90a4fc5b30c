import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ROLES, type Role } from '../../../src/protocol/names.ts'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useLoaded } from '../ui/data.ts'
import {
  Age,
  attempt,
  Button,
  Card,
  Clock,
  confirmThen,
  ListState,
  SelectField,
  TextField,
} from '../ui/kit.tsx'
import { SecretDialog, type ToldOnce } from './access-principals.tsx'

const DAYS = ['7', '30', '90', '365', ''] as const

/** Tokens: yours, and for an admin those of all. */
export function AccessTokens(): JSX.Element {
  const { data, error, again } = useLoaded(
    () => session.ask('token/list', { limit: 1000 }),
    [],
    [session.fleet.eventsChanged],
  )
  const [told, setTold] = useState<ToldOnce>()
  const remove = (tokenId: string, name: string) =>
    confirmThen({
      title: t('token.remove-title', { name }),
      text: <p>{t('token.remove-text')}</p>,
      action: t('remove'),
      run: () => attempt(session.ask('token/remove', { tokenId }), t('token.removed', { name })).then(again),
    })
  return (
    <div class="grid wide-first">
      <Card title={t('access.tokens')}>
        <ListState error={error} count={data?.items.length} none={t('token.none')} />
        <table class="stacks">
          <thead>
            <tr>
              <th scope="col">{t('name')}</th>
              <th scope="col">{t('principal')}</th>
              <th scope="col">{t('role')}</th>
              <th scope="col">{t('token.used')}</th>
              <th scope="col">{t('token.ends')}</th>
              <th scope="col">
                <span class="unseen">{t('actions')}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {data?.items.map((token) => (
              <tr key={token.tokenId}>
                <th scope="row">{token.name}</th>
                <td data-label={t('principal')}>{token.principal}</td>
                <td data-label={t('role')}>{t(`role.${token.role}`)}</td>
                <td data-label={t('token.used')}>
                  <span>
                    {token.lastUsedAt === undefined ? t('never') : <Age at={token.lastUsedAt} />}{' '}
                    <small class="mono">{token.lastAddress ?? ''}</small>
                  </span>
                </td>
                <td data-label={t('token.ends')}>
                  {token.expiresAt === undefined ? t('never') : <Clock at={token.expiresAt} />}
                </td>
                <td>
                  <Button small kind="danger" onClick={() => remove(token.tokenId, token.name)}>
                    {t('remove')}
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Card>
      <AddToken again={again} tell={setTold} />
      {told !== undefined && <SecretDialog told={told} close={() => setTold(undefined)} />}
    </div>
  )
}

function AddToken({ again, tell }: { again: () => void; tell: (told: ToldOnce) => void }): JSX.Element {
  const [name, setName] = useState('')
  const [role, setRole] = useState<Role>('viewer')
  const [days, setDays] = useState('90')
  const roles = ROLES.filter((each) => session.reaches(each))
  const add = async () => {
    const lasts = days === '' ? {} : { expiresInDays: Number(days) }
    const made = await attempt(session.ask('token/add', { name: name.trim(), role, ...lasts }))
    setName('')
    again()
    tell({ title: t('token.new', { name: made.name }), secret: made.token })
  }
  return (
    <Card title={t('token.add')}>
      <TextField
        label={t('token.what-for')}
        value={name}
        onInput={setName}
        maxLength={63}
        autocomplete="off"
      />
      <SelectField
        label={t('role')}
        value={role}
        onChange={(value) => setRole(roles.find((each) => each === value) ?? 'viewer')}
        options={roles.map((each) => [each, t(`role.${each}`)] as const)}
      />
      <SelectField
        label={t('token.lasts')}
        value={days}
        onChange={setDays}
        options={DAYS.map(
          (each) => [each, each === '' ? t('token.for-ever') : t('token.days', { n: Number(each) })] as const,
        )}
      />
      <p class="act">
        <Button kind="primary" onClick={add} disabled={name.trim() === ''}>
          {t('token.add-do')}
        </Button>
      </p>
    </Card>
  )
}
