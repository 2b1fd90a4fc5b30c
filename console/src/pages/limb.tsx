import type { ComponentType, JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { State } from '../../../src/protocol/schemas.ts'
import { type MessageKey, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { Values } from '../live/values.ts'
import { currentRoute, href, routeChanged } from '../router.ts'
import { Age, Empty, Icon, Status } from '../ui/kit.tsx'
import { reasonText } from '../ui/reasons.tsx'
import { Tabs } from '../ui/tabs.tsx'
import { LimbHealth } from './limb-health.tsx'
import { LimbPolicy } from './limb-policy.tsx'
import { LimbRecord } from './limb-record.tsx'
import { LimbSettings } from './limb-settings.tsx'
import { LimbUse } from './limb-use.tsx'

/** One limb: what it can do, how it is, who may use it, what happened. */

export interface LimbView {
  readonly nodeId: string
  readonly state: State
  readonly values: Values
}

interface Tab {
  readonly name: string
  readonly title: MessageKey
  readonly View: ComponentType<LimbView>
  readonly may?: () => boolean
}

const TABS: readonly Tab[] = [
  { name: 'use', title: 'limb.tab.use', View: LimbUse },
  { name: 'health', title: 'limb.tab.health', View: LimbHealth },
  { name: 'policy', title: 'limb.tab.policy', View: LimbPolicy },
  { name: 'record', title: 'limb.tab.record', View: LimbRecord },
  { name: 'settings', title: 'limb.tab.settings', View: LimbSettings, may: () => session.may('node/rename') },
]

export function LimbPage({ id: nodeId }: { id: string }): JSX.Element {
  const { fleet } = session
  useSignals(routeChanged, fleet.nodeChanged(nodeId), fleet.descriptionsChanged, fleet.nodesChanged)
  const [values, setValues] = useState<Values>()
  useEffect(() => {
    const made = new Values(nodeId)
    setValues(made)
    return () => made.end()
  }, [nodeId])
  const state = fleet.nodes.get(nodeId)
  const tabs = TABS.filter(({ may }) => may?.() ?? true)
  const tab = tabs.find(({ name }) => name === currentRoute().query.get('tab')) ?? tabs[0]
  if (state === undefined || values === undefined || tab === undefined) return <Unknown nodeId={nodeId} />
  const description = fleet.descriptions.get(nodeId)
  values.describe(description?.properties ?? [])
  const { View } = tab
  return (
    <>
      <header class="page-head limb-head">
        <p class="crumbs">
          <a href={href('limbs')}>{t('page.limbs')}</a>
          <Icon name="chevron" />
          <span class="mono">{nodeId}</span>
        </p>
        <h1>{state.displayName}</h1>
        <p class="lead">
          <Status status={state.status} />
          <span>
            {reasonText(state)} · <Age at={state.since} />
          </span>
          {state.lastHeartbeatAt !== null && (
            <span class="quiet">
              {t('limb.heard')} <Age at={state.lastHeartbeatAt} />
            </span>
          )}
        </p>
        {description?.description !== undefined && <p>{description.description}</p>}
      </header>
      <Tabs
        label={t('limb.tabs')}
        current={tab.name}
        tabs={tabs.map(({ name, title }) => ({
          name,
          title: t(title),
          link: href('limb', nodeId, { tab: name === 'use' ? '' : name }),
        }))}
      />
      <View nodeId={nodeId} state={state} values={values} />
    </>
  )
}

/** It may come in the next moment, or be a name that knocked and was not let in. */
function Unknown({ nodeId }: { nodeId: string }): JSX.Element {
  return (
    <>
      <header class="page-head">
        <p class="crumbs">
          <a href={href('limbs')}>{t('page.limbs')}</a>
        </p>
        <h1>{nodeId === '' ? t('limb') : nodeId}</h1>
      </header>
      <Empty icon="limbs">{t('limb.unknown')}</Empty>
      {session.may('node/why') && <LimbHealth nodeId={nodeId} state={undefined} values={undefined} />}
    </>
  )
}
