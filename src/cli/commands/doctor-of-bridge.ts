import type { CheckResult } from '../../host/doctor/check-result.ts'
import type { CliContext } from '../context.ts'
import { CliError } from '../exit.ts'
import { type Bridge, openBridge } from '../session/session.ts'
import { targetOf } from '../session/target.ts'
import { asRow } from '../terminal/presentation.ts'

/** Asks a running bridge what it knows of itself, for the doctor. */

const CONNECT_SECONDS = 2
/** Limbs that are looked into: a fleet has its own list. */
const MAX_LIMBS = 20

/** Asks over the control socket; says nothing when there is none that answers, which is looked at from outside. */
export async function askBridge(context: CliContext, config: string | undefined): Promise<CheckResult[]> {
  try {
    const target = await targetOf(context, config === undefined ? {} : { config })
    const bridge = await openBridge(target, {
      clock: context.clock,
      connectSeconds: CONNECT_SECONDS,
      answerSeconds: CONNECT_SECONDS,
    })
    try {
      return [...(await healthOf(bridge)), ...(await limbsOf(bridge))]
    } finally {
      await bridge.close()
    }
  } catch (error) {
    if (error instanceof CliError) return []
    throw error
  }
}

async function healthOf(bridge: Bridge): Promise<CheckResult[]> {
  const { ready, reasons, warnings } = asRow(await bridge.request('bridge/health', {}))
  return [
    ...(ready === true ? [{ what: 'ready', level: 'ok' as const, message: 'the bridge does its work' }] : []),
    ...texts(reasons).map((message) => ({ what: 'ready', level: 'problem' as const, message })),
    ...texts(warnings).map((message) => ({ what: 'bridge', level: 'warning' as const, message })),
  ]
}

/** Signs in the answer of `node/why` that a limb tries to come in. */
const SIGNS = ['lastRefusedSignIn', 'lastRefusedRegistration', 'pending', 'lastDenied']

/** Limbs that try to come in and are not let in, each with what `limb-bridge why` says of it. */
async function limbsOf(bridge: Bridge): Promise<CheckResult[]> {
  const page = asRow(await bridge.request('node/list', { status: 'offline', limit: MAX_LIMBS }))
  const offline = Array.isArray(page.items) ? page.items.map(asRow) : []
  const found: CheckResult[] = []
  for (const { nodeId } of offline) {
    const why = asRow(await bridge.request('node/why', { nodeId }))
    if (SIGNS.every((sign) => why[sign] === undefined)) continue
    const message = `${String(nodeId)}: ${texts(why.advice).join('; ')} (limb-bridge why ${String(nodeId)})`
    found.push({ what: 'limb', level: 'warning', message })
  }
  return found
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : []
}
