import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** Reads how the packaged service stands, as systemd tells anybody who asks. */

export const SERVICE = 'limb-bridge.service'
const CONTROL_SOCKET = 'limb-bridge-control.socket'
/** The units of its ports, by what the doctor calls them. */
export const PORT_SOCKETS = {
  MQTT: 'limb-bridge.socket',
  'MQTT over TLS': 'limb-bridge-tls.socket',
  HTTP: 'limb-bridge-http.socket',
} as const
const UNITS = [SERVICE, CONTROL_SOCKET, ...Object.values(PORT_SOCKETS)]
const PROPERTIES =
  'Id,LoadState,ActiveState,Result,ExecMainStatus,StatusText,InvocationID,MainPID,LimitNOFILE,Listen'
/** The time to wait for systemd: it answers at once or not at all. */
const ASK_MS = 5000
const LOOK_MS = 200
/** The last words of a service that failed longer ago say nothing of the present. */
const RECENT = '-1h'

export interface UnitState {
  readonly unit: string
  readonly active: string
  readonly result: string
  readonly exitStatus: string
  readonly statusText: string
  readonly invocation: string
  readonly mainPid: number
  readonly openFiles: number
  /** Addresses and paths of a socket unit. */
  readonly listens: readonly string[]
}

export interface ServiceState {
  readonly service: UnitState
  /** The socket on which systemd listens for local administration; empty when it does not. */
  readonly control: UnitState | undefined
  readonly units: ReadonlyMap<string, UnitState>
}

/** Returns undefined where no systemd runs, or it does not know the service. */
export async function serviceState(): Promise<ServiceState | undefined> {
  if (!existsSync('/run/systemd/system')) return undefined
  const text = await run('systemctl', ['show', ...UNITS, '--property', PROPERTIES])
  const units = new Map(parseUnits(text).map((state) => [state.unit, state]))
  const service = units.get(SERVICE)
  return service === undefined ? undefined : { service, control: units.get(CONTROL_SOCKET), units }
}

/** Reads what `systemctl show` prints of several units. Units that are not installed are left out. */
export function parseUnits(text: string): UnitState[] {
  return text.split(/\n\n+/).flatMap((block) => {
    const lines = block.split('\n').map((line) => /^(\w+)=(.*)$/.exec(line) ?? [])
    const value = (name: string) => lines.find(([, key]) => key === name)?.[2] ?? ''
    if (value('Id') === '' || value('LoadState') !== 'loaded') return []
    return [
      {
        unit: value('Id'),
        active: value('ActiveState'),
        result: value('Result'),
        exitStatus: value('ExecMainStatus'),
        statusText: value('StatusText'),
        invocation: value('InvocationID'),
        mainPid: Number(value('MainPID')),
        openFiles: Number(value('LimitNOFILE')),
        listens: lines.flatMap(([, key, text = '']) =>
          key === 'Listen' ? [text.replace(/ \(\w+\)$/, '')] : [],
        ),
      },
    ]
  })
}

/** Returns whether the control socket at this path is the one that systemd holds open for the service. */
export function isServiceSocket(state: ServiceState, path: string): boolean {
  return state.control?.listens.includes(path) === true
}

/** Names the unit that has failed and what it said last, or returns undefined when none has. */
export async function failureOf(state: ServiceState): Promise<string | undefined> {
  const { service, units } = state
  if (service.active === 'failed') return await serviceFailure(service)
  const socket = [...units.values()].find(
    ({ unit, active }) => active === 'failed' && unit.endsWith('.socket'),
  )
  if (socket === undefined) return undefined
  const where = socket.listens.join(', ')
  return socket.result === 'resources'
    ? `${socket.unit} has failed: it cannot listen on ${where}, where another program may listen (\`ss -ltnp\` names it)`
    : `${socket.unit} has failed (${socket.result}), so that nobody listens on ${where}`
}

async function serviceFailure({
  unit,
  exitStatus,
  result,
  statusText,
  invocation,
}: UnitState): Promise<string> {
  const how = exitStatus === '0' || exitStatus === '' ? result : `exit status ${exitStatus}`
  // Of this start first: an older one may have failed of something else.
  const own = invocation === '' ? undefined : await lastFatalLine(`_SYSTEMD_INVOCATION_ID=${invocation}`)
  const reason = own ?? (statusText || ((await lastFatalLine(`-u${SERVICE}`)) ?? ''))
  return reason === ''
    ? `${unit} has failed (${how}); \`journalctl -u ${unit}\` says why`
    : `${unit} has failed (${how}): ${reason}`
}

/** Says what is known of a service behind a control socket that closed the connection; undefined when it runs. */
export async function failureAfter(path: string): Promise<string | undefined> {
  const state = await serviceState()
  if (state === undefined || !isServiceSocket(state, path) || state.service.active === 'active')
    return undefined
  return await serviceFailure(
    state.service.active === 'failed' ? state.service : { ...state.service, ...STARTS_AGAIN },
  )
}

/** Describes a service that was started anew meanwhile. */
const STARTS_AGAIN = { exitStatus: '', result: 'it starts again for who connects' } as const

/** The words for what to do when that is mended. */
export const MENDED = `when that is mended: \`systemctl reset-failed 'limb-bridge*'; systemctl restart limb-bridge\``

/** Reads the last of these lines of the journal that ended the service, which not every user may read. */
async function lastFatalLine(lines: string): Promise<string | undefined> {
  const args = [lines, '-p', 'crit', '-n', '1', '-o', 'cat', '--since', RECENT, '--no-pager', '-q']
  const line = (await run('journalctl', args)).trim()
  return line === '' ? undefined : messageIn(line)
}

function messageIn(line: string): string {
  try {
    const { msg } = JSON.parse(line) as { msg?: unknown }
    return typeof msg === 'string' ? msg : line
  } catch {
    return line.replace(/^limb-bridge: /, '')
  }
}

/**
 * Resolves with the failure of the service behind a control socket as soon as systemd knows of it: at once, or while a
 * client that connected waits for a start that fails. Never resolves while there is none.
 */
export async function failureBehind(path: string, signal: AbortSignal): Promise<string | undefined> {
  let before: UnitState | undefined
  while (!signal.aborted) {
    const state = await serviceState()
    if (state === undefined || !isServiceSocket(state, path)) return undefined
    const { service } = state
    const failed = service.active === 'failed' ? await serviceFailure(service) : undefined
    if (failed !== undefined) return failed
    // Who knocks starts it anew, so that its failure lasts for moments: another start tells of it.
    if (before !== undefined && service.active === 'activating' && before.active === 'activating') {
      if (service.invocation !== before.invocation)
        return await serviceFailure({ ...service, ...STARTS_AGAIN, invocation: before.invocation })
    }
    if (service.active === 'active') return undefined
    before = service
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
  }
  return undefined
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(program, [...args], { timeout: ASK_MS, maxBuffer: 1024 * 1024 }, (_error, stdout) =>
      resolve(stdout),
    )
  })
}
