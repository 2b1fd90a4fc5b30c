import { accessSync, constants, existsSync } from 'node:fs'
import type { Environment } from '../config/env.ts'
import {
  failureOf,
  isServiceSocket,
  MENDED,
  PORT_SOCKETS,
  type ServiceState,
  serviceState,
  type UnitState,
} from '../systemd/service-state.ts'
import { type CheckResult, ok, problem, warning } from './check-result.ts'

/** The packaged service, as systemd tells of it. */

const CONFIGURATION = '/etc/limb-bridge/limb-bridge.yaml'
export const AS_ROOT = 'run `sudo limb-bridge doctor`'

/** The service whose configuration is looked at: it is known by its control socket. */
export async function serviceOf(controlSocket: string): Promise<ServiceState | undefined> {
  const state = await serviceState()
  return state !== undefined && isServiceSocket(state, controlSocket) ? state : undefined
}

export async function checkService(state: ServiceState): Promise<readonly CheckResult[]> {
  const failure = await failureOf(state)
  if (failure !== undefined) return [problem('service', `${failure}; ${MENDED}`)]
  const { unit, active, mainPid } = state.service
  if (active === 'active') return [ok('service', `${unit} runs (process ${mainPid})`)]
  const advice = '`systemctl start limb-bridge` starts it, and so does who connects'
  return [ok('service', `${unit} is ${active}; ${advice}`)]
}

/** The socket unit that systemd listens with in the place of the configured address; undefined: none does. */
export function socketUnit(
  state: ServiceState | undefined,
  what: keyof typeof PORT_SOCKETS,
): UnitState | undefined {
  const unit = state?.units.get(PORT_SOCKETS[what])
  return unit?.active === 'active' || unit?.active === 'failed' ? unit : undefined
}

/**
 * Checks what anybody may know of a service whose configuration is not for this user; undefined: it is, or there is
 * none.
 */
export async function checkFromOutside(
  file: string | undefined,
  env: Environment,
): Promise<readonly CheckResult[] | undefined> {
  if (file !== undefined || env.LIMB_CONFIG || !existsSync(CONFIGURATION) || mayRead(CONFIGURATION)) {
    return undefined
  }
  const state = await serviceState()
  const advice = `${AS_ROOT}, or as a member of the group limb-bridge, for everything else`
  return [
    warning(
      'configuration',
      `${CONFIGURATION} is not for this user: only the service is looked at; ${advice}`,
    ),
    ...(state === undefined
      ? [warning('service', 'systemd does not tell this user how it stands')]
      : await checkService(state)),
  ]
}

function mayRead(file: string): boolean {
  try {
    accessSync(file, constants.R_OK)
    return true
  } catch {
    return false
  }
}
