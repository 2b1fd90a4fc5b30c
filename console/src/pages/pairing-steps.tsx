import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import type { State } from '../../../src/protocol/schemas.ts'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { Signal, useSignals } from '../live/signal.ts'
import { href } from '../router.ts'
import { useLoaded } from '../ui/data.ts'
import { Button, Card, Icon } from '../ui/kit.tsx'

/** From the approval to the first heartbeat: how far a newcomer is, what is missing, and why. */

/** Also those that somebody else approved just now. */
const RECENT_MS = 600_000
const MAX_SHOWN = 10
const ASK_AGAIN_MS = 3000

const changed = new Signal()
/** Approved here, or shown here: these stay until somebody dismisses them, also behind their first heartbeat. */
const followed = new Set<string>()
const dismissed = new Set<string>()

export function rememberNewcomer(nodeId: string): void {
  followed.add(nodeId)
  dismissed.delete(nodeId)
  changed.changed()
}

export function NewcomerSteps(): JSX.Element | null {
  const { fleet } = session
  useSignals(fleet.nodesChanged, changed)
  const recent = (state: State) =>
    followed.has(state.nodeId) ||
    (state.lastHeartbeatAt === null && Date.now() - new Date(state.approvedAt).getTime() < RECENT_MS)
  const newcomers = [...fleet.nodes.values()].filter((state) => recent(state) && !dismissed.has(state.nodeId))
  if (newcomers.length === 0) return null
  const shown = newcomers.sort((a, b) => (a.approvedAt < b.approvedAt ? 1 : -1)).slice(0, MAX_SHOWN)
  for (const { nodeId } of shown) followed.add(nodeId)
  return (
    <Card title={t('steps.title')}>
      {shown.map((state) => (
        <Steps key={state.nodeId} state={state} />
      ))}
    </Card>
  )
}

/** After the approval the limb subscribes and is heard: both can fail, and the bridge knows why. */
function Steps({ state }: { state: State }): JSX.Element {
  const { nodeId, displayName, lastHeartbeatAt, capabilities } = state
  const mayAsk = session.may('node/why')
  const { data, again } = useLoaded(
    async () => (mayAsk ? await session.ask('node/why', { nodeId }) : undefined),
    [nodeId],
    [session.fleet.nodeChanged(nodeId)],
  )
  const heard = lastHeartbeatAt !== null
  const needsInvoke =
    capabilities.some(({ commands }) => commands.length > 0) && state.endpointUrl === undefined
  // A limb without commands has nothing to subscribe: to be connected is enough.
  const subscribed = needsInvoke ? data?.session?.subscribed === true : heard || data?.session !== undefined
  const steps = [
    [t('steps.asked'), true],
    [t('steps.approved'), true],
    [t('steps.subscribed'), subscribed],
    [t('steps.heartbeat'), heard],
  ] as const
  const waits = mayAsk && !(heard && subscribed)
  useEffect(() => {
    if (!waits) return
    // Of a SUBSCRIBE no topic tells.
    const timer = setInterval(() => document.hidden || again(), ASK_AGAIN_MS)
    return () => clearInterval(timer)
  }, [nodeId, waits])
  const dismiss = () => {
    dismissed.add(nodeId)
    changed.changed()
  }
  return (
    <div class="newcomer">
      <p>
        <a href={href('limb', nodeId)}>{displayName}</a>
        <Button small kind="quiet" label={t('steps.dismiss', { name: displayName })} onClick={dismiss}>
          <Icon name="cross" />
        </Button>
      </p>
      <ol class="steps">
        {steps.map(([text, done]) => (
          <li key={text} class={done ? 'done' : 'open'}>
            <Icon name={done ? 'check' : 'more'} label={t(done ? 'steps.done' : 'steps.open')} />
            {text}
          </li>
        ))}
      </ol>
      {!(heard && subscribed) && data !== undefined && <p class="note">{data.advice[0]}</p>}
    </div>
  )
}
