import { Component, type ComponentChildren, type ComponentType, type JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { currentLanguage, languageChanged, type MessageKey, setLanguage, t } from './i18n/index.ts'
import { own } from './live/own.ts'
import { session } from './live/session.ts'
import { useSignals } from './live/signal.ts'
import { LimbPage } from './pages/limb.tsx'
import { LimbsPage } from './pages/limbs.tsx'
import { PairingPage } from './pages/pairing.tsx'
import { SignInPage } from './pages/sign-in.tsx'
import { TodayPage } from './pages/today.tsx'
import { currentRoute, href, routeChanged } from './router.ts'
import { Alerts } from './ui/alerts.tsx'
import { Age, Button, Icon, type IconName, Questions, Toasts } from './ui/kit.tsx'
import { currentTheme, nextTheme, themeChanged } from './ui/theme.ts'

/** The frame: sign-in, navigation, the state of the connection, and the page. */

type Page = ComponentType<{ id: string }>

/** Loaded when somebody goes there. */
const LATER: Readonly<Record<string, () => Promise<Page>>> = {
  approvals: async () => (await import('./pages/approvals.tsx')).ApprovalsPage,
  access: async () => (await import('./pages/access.tsx')).AccessPage,
  audit: async () => (await import('./pages/audit.tsx')).AuditPage,
  system: async () => (await import('./pages/system.tsx')).SystemPage,
  first: async () => (await import('./pages/first-device.tsx')).FirstDevicePage,
}

const AT_ONCE: Readonly<Record<string, Page>> = {
  today: TodayPage,
  pairing: PairingPage,
  limbs: LimbsPage,
  limb: LimbPage,
}

interface Place {
  readonly page: string
  readonly icon: IconName
  readonly title: MessageKey
  readonly count?: () => number
}

const PLACES: readonly Place[] = [
  { page: 'today', icon: 'today', title: 'page.today' },
  { page: 'pairing', icon: 'pairing', title: 'page.pairing', count: () => session.fleet.pairing.size },
  { page: 'limbs', icon: 'limbs', title: 'page.limbs' },
  {
    page: 'approvals',
    icon: 'approvals',
    title: 'page.approvals',
    count: () => session.fleet.approvals.size,
  },
  { page: 'access', icon: 'access', title: 'page.access' },
  { page: 'audit', icon: 'audit', title: 'page.audit' },
  { page: 'system', icon: 'system', title: 'page.system' },
]

export function App(): JSX.Element {
  useSignals(session.changed, languageChanged)
  if (session.phase === 'starting') return <p class="starting">{t('starting')}</p>
  return (
    <>
      {session.phase === 'signed-in' ? <Frame /> : <SignInPage />}
      <Questions />
      <Toasts />
    </>
  )
}

function Frame(): JSX.Element {
  useSignals(routeChanged, session.connection.changed)
  const { page, id } = currentRoute()
  const main = useRef<HTMLElement>(null)
  const shown = page === 'limb' ? 'limbs' : page
  useEffect(() => {
    main.current?.scrollTo(0, 0)
  }, [page, id])
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(event) => skipTo(event, main.current)}>
        {t('skip')}
      </a>
      <Navigation shown={shown} />
      <div class="column">
        <ConnectionBanner />
        <main id="main" ref={main} tabIndex={-1} class={`page-${page}`}>
          <Boundary key={`${page}/${id}`}>
            <PageOf page={page} id={id} />
          </Boundary>
        </main>
      </div>
      <Alerts />
    </div>
  )
}

/** A fault of one page leaves the others: it is told, and gone with the page. */
class Boundary extends Component<{ children: ComponentChildren }, { failed: boolean }> {
  override state = { failed: false }

  static override getDerivedStateFromError() {
    return { failed: true }
  }

  override componentDidCatch(error: unknown): void {
    reportError(error)
  }

  override render(): ComponentChildren {
    return this.state.failed ? <Lost text={t('page.failed')} /> : this.props.children
  }
}

function skipTo(event: Event, target: HTMLElement | null): void {
  event.preventDefault()
  target?.focus()
}

function PageOf({ page, id }: { page: string; id: string }): JSX.Element {
  const [loaded, setLoaded] = useState<{ readonly page: string; readonly Page: Page | undefined }>()
  const later = own(LATER, page)
  useEffect(() => {
    if (later === undefined) return
    let wanted = true
    const failed = () => wanted && setLoaded({ page, Page: undefined })
    later().then((Page) => wanted && setLoaded({ page, Page }), failed)
    return () => {
      wanted = false
    }
  }, [page])
  const Page = own(AT_ONCE, page) ?? (loaded?.page === page ? loaded.Page : undefined)
  if (Page !== undefined) return <Page key={id} id={id} />
  if (later === undefined) return <Lost text={t('page.unknown')} />
  return loaded?.page === page ? <Lost text={t('page.not-loaded')} /> : <p class="loading">{t('loading')}</p>
}

function Lost({ text }: { text: string }): JSX.Element {
  return (
    <>
      <h1>{text}</h1>
      <p>
        <a href={href('today')}>{t('page.today')}</a>
      </p>
    </>
  )
}

function Navigation({ shown }: { shown: string }): JSX.Element {
  const { fleet } = session
  useSignals(fleet.pairingChanged, fleet.approvalsChanged)
  return (
    <nav aria-label={t('nav.label')}>
      <a class="brand" href={href('today')}>
        <img src="./icon.svg" alt="" width="28" height="28" />
        <span>Limb Bridge</span>
      </a>
      <ul>
        {PLACES.map(({ page, icon, title, count }) => (
          <li key={page}>
            <a href={href(page)} aria-current={page === shown ? 'page' : undefined}>
              <Icon name={icon} />
              <span>{t(title)}</span>
              <Count n={count?.() ?? 0} />
            </a>
          </li>
        ))}
      </ul>
      <Account />
    </nav>
  )
}

/** Who is signed in, colours, language and the way out; on a phone it stands on the page System. */
export function Account(): JSX.Element {
  useSignals(themeChanged)
  return (
    <div class="who">
      <p>
        <strong>{session.name}</strong>
        <small>{t(`role.${session.role}`)}</small>
      </p>
      <div class="tools">
        <Button kind="quiet" small label={t(`theme.${currentTheme()}`)} onClick={nextTheme}>
          <Icon name="sun" />
        </Button>
        <LanguageButton />
        <Button kind="quiet" small label={t('sign-out')} onClick={() => session.signOut()}>
          <Icon name="out" />
        </Button>
      </div>
    </div>
  )
}

function Count({ n }: { n: number }): JSX.Element | null {
  if (n === 0) return null
  return (
    <span class="count">
      <span aria-hidden="true">{n > 99 ? '99+' : n}</span>
      <span class="unseen">{t('nav.waiting', { n })}</span>
    </span>
  )
}

export function LanguageButton(): JSX.Element {
  const other = currentLanguage() === 'en' ? 'de' : 'en'
  return (
    <Button kind="quiet" small label={t('language.other')} onClick={() => setLanguage(other)}>
      <span class="letters">{other.toUpperCase()}</span>
    </Button>
  )
}

function ConnectionBanner(): JSX.Element | null {
  const { connection, fleet } = session
  useSignals(connection.changed, fleet.infoChanged)
  if (connection.state === 'lost') {
    return (
      <div class="banner bad" role="alert">
        <Icon name="warning" />
        <span>
          {t('banner.lost')} <Age at={new Date(connection.lostAt).toISOString()} />
        </span>
        <Button small onClick={() => connection.retry()}>
          {t('banner.retry')}
        </Button>
      </div>
    )
  }
  if (fleet.bridgeOnline) return null
  return (
    <div class="banner bad" role="alert">
      <Icon name="warning" />
      <span>{t('banner.stopping')}</span>
    </div>
  )
}
