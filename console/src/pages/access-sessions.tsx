import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useLoaded } from '../ui/data.ts'
import { Age, attempt, Button, Card, confirmThen, ListState, Tag, TextField } from '../ui/kit.tsx'

/** MQTT sessions, live and kept. */
export function AccessSessions(): JSX.Element {
  const [name, setName] = useState('')
  const [after, setAfter] = useState<readonly string[]>([])
  const cursor = after[after.length - 1]
  const { data, error, again } = useLoaded(
    () =>
      session.ask('session/list', {
        limit: 100,
        ...(cursor === undefined ? {} : { after: cursor }),
        ...(/^[\w-]+$/.test(name) ? { name } : {}),
      }),
    [name, cursor],
  )
  const forget = (who: string, clientId: string) =>
    confirmThen({
      title: t('session.forget-title', { name: who }),
      text: <p>{t('session.forget-text')}</p>,
      action: t('session.forget'),
      run: () =>
        attempt(session.ask('session/forget', { name: who, clientId }), t('session.forgotten')).then(again),
    })
  return (
    <Card
      title={t('access.sessions')}
      actions={
        <Button small onClick={again}>
          {t('refresh')}
        </Button>
      }
    >
      <TextField label={t('session.of')} value={name} onInput={setName} placeholder={t('any')} />
      <ListState error={error} count={data?.items.length} none={t('session.none')} />
      <table class="stacks">
        <thead>
          <tr>
            <th scope="col">{t('name')}</th>
            <th scope="col">{t('session.client')}</th>
            <th scope="col">{t('address')}</th>
            <th scope="col">{t('since')}</th>
            <th scope="col">{t('session.queued')}</th>
            <th scope="col">
              <span class="unseen">{t('actions')}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {data?.items.map((item) => (
            <tr key={`${item.name} ${item.clientId}`}>
              <th scope="row">{item.name}</th>
              <td class="mono clip" data-label={t('session.client')}>
                <span>{item.clientId}</span>
              </td>
              <td class="mono" data-label={t('address')}>
                {item.address ?? <Tag>{t('session.away')}</Tag>}
              </td>
              <td data-label={t('since')}>
                <Age at={item.since} />
              </td>
              <td data-label={t('session.queued')}>{item.queued}</td>
              <td>
                {session.may('session/forget') && (
                  <Button small onClick={() => forget(item.name, item.clientId)}>
                    {t('session.forget')}
                  </Button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="act">
        {after.length > 0 && <Button onClick={() => setAfter(after.slice(0, -1))}>{t('page.back')}</Button>}
        {data?.next !== undefined && (
          <Button onClick={() => setAfter([...after, data.next ?? ''])}>{t('page.next')}</Button>
        )}
      </p>
    </Card>
  )
}
