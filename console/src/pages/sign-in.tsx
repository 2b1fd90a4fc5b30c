import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { LanguageButton } from '../app.tsx'
import { t } from '../i18n/index.ts'
import type { SignInProblem } from '../live/connection.ts'
import { session } from '../live/session.ts'
import { Icon, TextField } from '../ui/kit.tsx'
import { FirstStart, firstStartSecret } from './first-start.tsx'

export function SignInPage(): JSX.Element {
  return (
    <main class="sign-in">
      <header>
        <img src="./icon.svg" alt="" width="44" height="44" />
        <h1>Limb Bridge</h1>
        <LanguageButton />
      </header>
      {firstStartSecret() === undefined ? <SignInForm /> : <FirstStart />}
    </main>
  )
}

function SignInForm(): JSX.Element {
  const [name, setName] = useState('')
  const [secret, setSecret] = useState('')
  const [remember, setRemember] = useState(false)
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<SignInProblem | undefined>()
  const submit = async (event: Event) => {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    setProblem(undefined)
    try {
      await session.signIn({ name: name.trim(), secret }, remember)
    } catch (error) {
      setProblem(error === 'busy' || error === 'unreachable' ? error : 'refused')
    }
    setBusy(false)
  }
  return (
    <form onSubmit={submit}>
      {session.ended === 'refused' && problem === undefined && (
        <p class="error" role="alert">
          <Icon name="warning" />
          {t('sign-in.ended')}
        </p>
      )}
      <TextField
        label={t('sign-in.name')}
        value={name}
        onInput={setName}
        autocomplete="username"
        hint={t('sign-in.name-hint')}
        autofocus
      />
      <TextField
        label={t('sign-in.secret')}
        value={secret}
        onInput={setSecret}
        type="password"
        autocomplete="current-password"
      />
      <label class="check">
        <input
          type="checkbox"
          checked={remember}
          onChange={(event) => setRemember(event.currentTarget.checked)}
        />
        <span>{t('sign-in.remember')}</span>
      </label>
      {problem !== undefined && (
        <p class="error" role="alert">
          <Icon name="warning" />
          <span>{t(`sign-in.${problem}`)}</span>
        </p>
      )}
      <button type="submit" class="button primary wide" disabled={busy || secret === ''} aria-busy={busy}>
        {t('sign-in.submit')}
      </button>
      {location.protocol === 'http:' && !isLocal() && <p class="quiet">{t('sign-in.plain')}</p>}
    </form>
  )
}

function isLocal(): boolean {
  return ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname)
}
