import { CliError, unreachable } from '../exit.ts'
import { type ConnectionTarget, targetName } from './target.ts'

/**
 * The packaged service behind a control socket. systemd holds that open and takes every connection, also for a service
 * that cannot start: who connects would wait, and start it once more.
 */

/** Says what ended the service, or returns undefined when it has not failed or is not behind this socket. */
export async function serviceFailure(target: ConnectionTarget): Promise<CliError | undefined> {
  const { endpoint } = target
  // systemd's own sockets are nowhere else, and a question costs some milliseconds.
  if (endpoint.kind !== 'socket' || !endpoint.path.startsWith('/run/')) return undefined
  const { failureOf, isServiceSocket, serviceState } = await import('../../host/systemd/service-state.ts')
  const state = await serviceState()
  if (state === undefined || !isServiceSocket(state, endpoint.path)) return undefined
  if (state.service.active === 'active') return undefined
  const text = await failureOf(state)
  return text === undefined ? undefined : await cannotReach(target, text)
}

/** Settles as `connected` does, unless systemd says before that the service could not start. */
export async function unlessServiceFails(target: ConnectionTarget, connected: Promise<void>): Promise<void> {
  const { endpoint } = target
  if (endpoint.kind !== 'socket' || !endpoint.path.startsWith('/run/')) return await connected
  const { failureAfter, SERVICE } = await import('../../host/systemd/service-state.ts')
  const stop = new AbortController()
  try {
    await Promise.race([connected, failing(target, endpoint.path, stop.signal)])
  } catch (error) {
    if (error instanceof CliError && error.message.includes(SERVICE)) throw error
    // A service that cannot start closes the connections that have waited for it.
    const text = await failureAfter(endpoint.path)
    throw text === undefined ? error : await cannotReach(target, text)
  } finally {
    stop.abort()
  }
}

/** Never resolves: it rejects, or says nothing. */
async function failing(target: ConnectionTarget, path: string, signal: AbortSignal): Promise<never> {
  const { failureBehind } = await import('../../host/systemd/service-state.ts')
  const text = await failureBehind(path, signal)
  if (text !== undefined && !signal.aborted) throw await cannotReach(target, text)
  return await new Promise<never>(() => undefined)
}

async function cannotReach(target: ConnectionTarget, text: string): Promise<CliError> {
  const { MENDED } = await import('../../host/systemd/service-state.ts')
  return unreachable(`cannot reach the bridge at ${targetName(target)}: ${text}; ${MENDED}`)
}
