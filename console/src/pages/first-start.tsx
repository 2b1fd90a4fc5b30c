import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { go, routeChanged } from '../router.ts'
import { Icon, TextField } from '../ui/kit.tsx'

/** The link that a first start prints: it works once, and sets the password of `admin`. */

const PREFIX = '#/first-start/'
const MIN_CHARS = 8

/** What stands behind the `#`, which no request and no log ever holds. */
export function firstStartSecret(): string | undefined {
  return location.hash.startsWith(PREFIX) ? location.hash.slice(PREFIX.length) : undefined
}

export function FirstStart(): JSX.Element {
  const [password, setPassword] = useState('')
  const [again, setAgain] = useState('')
  const [problem, setProblem] = useState<string>()
  const [busy, setBusy] = useState(false)
  const leave = () => {
    go('today')
    routeChanged.changed()
    session.changed.changed()
  }
  const submit = async (event: Event) => {
    event.preventDefault()
    if (password.length < MIN_CHARS) return setProblem(t('first.short', { n: MIN_CHARS }))
    if (password !== again) return setProblem(t('first.different'))
    setBusy(true)
    setProblem(await setFirstPassword(password))
    setBusy(false)
  }
  return (
    <form onSubmit={submit}>
      <h2>{t('first.title')}</h2>
      <p>{t('first.text')}</p>
      <input
        class="unseen"
        type="text"
        name="username"
        autocomplete="username"
        value="admin"
        readOnly
        tabIndex={-1}
        aria-label={t('sign-in.name')}
      />
      <TextField
        label={t('first.password')}
        value={password}
        onInput={setPassword}
        type="password"
        autocomplete="new-password"
        autofocus
      />
      <TextField
        label={t('first.again')}
        value={again}
        onInput={setAgain}
        type="password"
        autocomplete="new-password"
      />
      {problem !== undefined && (
        <p class="error" role="alert">
          <Icon name="warning" />
          <span>{problem}</span>
        </p>
      )}
      <button type="submit" class="button primary wide" disabled={busy} aria-busy={busy}>
        {t('first.submit')}
      </button>
      <p>
        <a href="#/today" onClick={leave}>
          {t('first.have')}
        </a>
      </p>
    </form>
  )
}

/** Resolves with what went wrong, as a sentence; undefined when the page is signed in. */
async function setFirstPassword(password: string): Promise<string | undefined> {
  let response: Response
  try {
    response = await fetch('./console/first-start', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: firstStartSecret(), password }),
    })
  } catch {
    return t('sign-in.unreachable')
  }
  if (response.status === 410 || response.status === 404) return t('first.gone')
  if (!response.ok) return t('first.failed')
  try {
    location.replace('#/first')
    await session.signIn({ name: 'admin', secret: password }, false)
    return undefined
  } catch {
    return t('sign-in.refused')
  }
}
