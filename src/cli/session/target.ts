import { existsSync, readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { messageOf } from '../../kernel/errors.ts'
import { secretText } from '../../kernel/secret-text.ts'
import { isName, type Role } from '../../protocol/names.ts'
import { topicsOf } from '../../protocol/topics.ts'
import type { CliContext, CliSettings } from '../context.ts'
import { CliError, EXIT, usageError } from '../exit.ts'
import { askSecret, isInteractive } from '../terminal/questions.ts'

/** Says which bridge, and as whom. */

export interface ConnectionOptions {
  readonly socket?: string
  readonly url?: string
  readonly user?: string
  readonly passwordFile?: string
  readonly ca?: string
  readonly root?: string
  readonly config?: string
}

export interface ConnectionTarget {
  readonly endpoint:
    | { readonly kind: 'socket'; readonly path: string }
    | { readonly kind: 'url'; readonly url: string; readonly ca: Buffer | undefined }
  /** The principal whose topics are used. */
  readonly principal: string
  readonly password: string | undefined
  /** Reads what its file holds by now, for a program that comes back; undefined when that cannot be read. */
  readonly passwordNow?: () => string | undefined
  readonly root: string
  /** The role on the control socket, if it is less than admin. */
  readonly role?: Role
}

/** The principal of a session on the control socket without a user name. */
const LOCAL_PRINCIPAL = 'admin'
/** The place where the packaged service puts its control socket. */
const SERVICE_SOCKET = '/run/limb-bridge/control.sock'

export async function settingsOf(context: CliContext, file: string | undefined): Promise<CliSettings> {
  const loaded = await context.configuration.load(file, context.io.env)
  if (!loaded.ok) throw new CliError(EXIT.config, loaded.problems.join('\n'))
  return loaded.config
}

export function socketPath(context: CliContext, options: ConnectionOptions, settings: CliSettings): string {
  if (options.socket === '')
    throw usageError('--socket: there is no path; is the variable that should hold it set?')
  if (options.socket !== undefined) return options.socket
  const path = settings.control.socket
  const named =
    options.config ??
    context.io.env.LIMB_CONFIG ??
    context.io.env.LIMB_CONTROL_SOCKET ??
    context.io.env.LIMB_DB
  // Only a guess is second-guessed, never what somebody asked for.
  return !named && !existsSync(path) && existsSync(SERVICE_SOCKET) ? SERVICE_SOCKET : path
}

export function checkedRoot(root: string): string {
  if (/[+#\0]/.test(root) || root === '')
    throw usageError(`--root: ${JSON.stringify(root)} is not a topic root`)
  return topicsOf(root).root
}

function readFile(option: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw usageError(`${option}: cannot read ${path}: ${messageOf(error)}`)
  }
}

function passwordIn(file: string): string {
  return secretText(readFile('--password-file', file))
}

/** A pipe has been read, and gives nothing a second time. */
function passwordNow(file: string): string | undefined {
  try {
    return (statSync(file).isFile() && passwordIn(file)) || undefined
  } catch {
    return undefined
  }
}

async function passwordOf(context: CliContext, options: ConnectionOptions, user: string): Promise<string> {
  if (options.passwordFile !== undefined) return passwordIn(options.passwordFile)
  const given = secretText(context.io.env.LIMB_PASSWORD ?? '')
  if (given !== '') return given
  if (isInteractive(context.io)) return askSecret(context.io, `Password of ${user}: `)
  throw usageError('no password: set LIMB_PASSWORD, or name a file with --password-file')
}

const SCHEMES = ['mqtt:', 'mqtts:', 'ws:', 'wss:']

async function remoteTarget(
  context: CliContext,
  options: ConnectionOptions,
  text: string,
): Promise<ConnectionTarget> {
  const label = options.url === undefined ? 'LIMB_URL' : '--url'
  const url = URL.parse(text)
  if (!url || !SCHEMES.includes(url.protocol)) {
    throw usageError(`${label}: ${JSON.stringify(text)} is not an mqtt://, mqtts://, ws:// or wss:// URL`)
  }
  // It would stand in the shell's history and in the list of processes.
  if (url.password !== '')
    throw usageError(`${label}: leave the password out; set LIMB_PASSWORD or use --password-file`)
  const user = options.user ?? decodeURIComponent(url.username)
  if (!isName(user)) throw usageError('--user NAME says as which principal to sign in')
  url.username = ''
  // The bridge speaks MQTT there and nowhere else.
  if (/^wss?:$/.test(url.protocol) && url.pathname === '/') url.pathname = '/mqtt'
  const { passwordFile } = options
  return {
    endpoint: {
      kind: 'url',
      url: url.href,
      ca: options.ca === undefined ? undefined : readFile('--ca', options.ca),
    },
    principal: user,
    password: await passwordOf(context, options, user),
    ...(passwordFile === undefined ? {} : { passwordNow: () => passwordNow(passwordFile) }),
    root: checkedRoot(options.root ?? (await settingsOf(context, options.config)).mqtt.topicRoot),
  }
}

/** Returns the URL that was asked for; a named control socket is no bridge elsewhere. */
function urlOf(context: CliContext, { url, socket }: ConnectionOptions): string | undefined {
  return url ?? (socket === undefined ? context.io.env.LIMB_URL || undefined : undefined)
}

export async function targetOf(context: CliContext, options: ConnectionOptions): Promise<ConnectionTarget> {
  const url = urlOf(context, options)
  if (url !== undefined) return remoteTarget(context, options, url)
  if (options.user !== undefined) throw usageError('--user goes with --url; the control socket needs no name')
  const settings = await settingsOf(context, options.config)
  return {
    endpoint: { kind: 'socket', path: socketPath(context, options, settings) },
    principal: LOCAL_PRINCIPAL,
    password: undefined,
    root: checkedRoot(options.root ?? settings.mqtt.topicRoot),
  }
}

/**
 * Does the same as `targetOf`, with a name and a role of its own on the control socket too: for a program that is no
 * admin.
 */
export async function targetOfProgram(
  context: CliContext,
  options: ConnectionOptions & { readonly role?: Role },
  preset: { readonly name: string; readonly role: Role },
): Promise<ConnectionTarget> {
  const { role, user, ...rest } = options
  if (urlOf(context, options) !== undefined) {
    if (role !== undefined)
      throw usageError(
        '--role goes with the control socket; with --url the bridge knows the role of the principal',
      )
    return targetOf(context, options)
  }
  if (user !== undefined && !isName(user)) throw usageError('--user: not the name of a principal')
  return { ...(await targetOf(context, rest)), principal: user ?? preset.name, role: role ?? preset.role }
}

/** Returns how a message names the bridge: a relative path would say nothing to whoever is in another folder. */
export function targetName(target: ConnectionTarget): string {
  return target.endpoint.kind === 'socket' ? resolve(target.endpoint.path) : target.endpoint.url
}
