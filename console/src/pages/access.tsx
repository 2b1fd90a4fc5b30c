import type { ComponentType, JSX } from 'preact'
import { type MessageKey, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { currentRoute, href, routeChanged } from '../router.ts'
import { Tabs } from '../ui/tabs.tsx'
import { AccessPolicies } from './access-policies.tsx'
import { AccessPrincipals } from './access-principals.tsx'
import { AccessSessions } from './access-sessions.tsx'
import { AccessTokens } from './access-tokens.tsx'

interface Tab {
  readonly name: string
  readonly title: MessageKey
  readonly View: ComponentType
  readonly may: () => boolean
}

const TABS: readonly Tab[] = [
  {
    name: 'principals',
    title: 'access.principals',
    View: AccessPrincipals,
    may: () => session.may('principal/list'),
  },
  { name: 'policies', title: 'access.policies', View: AccessPolicies, may: () => true },
  { name: 'tokens', title: 'access.tokens', View: AccessTokens, may: () => true },
  {
    name: 'sessions',
    title: 'access.sessions',
    View: AccessSessions,
    may: () => session.may('session/list'),
  },
]

/** Who may come in, and what each may do. */
export function AccessPage(): JSX.Element {
  useSignals(routeChanged)
  const tabs = TABS.filter(({ may }) => may())
  const tab = tabs.find(({ name }) => name === currentRoute().query.get('tab')) ?? tabs[0]
  if (tab === undefined) return <h1>{t('page.access')}</h1>
  const { View } = tab
  return (
    <>
      <header class="page-head">
        <h1>{t('page.access')}</h1>
      </header>
      <Tabs
        label={t('page.access')}
        current={tab.name}
        tabs={tabs.map(({ name, title }) => ({
          name,
          title: t(title),
          link: href('access', '', { tab: name }),
        }))}
      />
      <View />
    </>
  )
}
