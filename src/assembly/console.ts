import { rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Core } from '../bridge/core.ts'
import { FirstStartLink } from '../bridge/sign-in/first-start-link.ts'
import { singleRequest } from '../bridge/verbs/single-request.ts'
import type { ConsoleOptions } from '../http/console/console.ts'
import type { SetFirstPassword } from '../http/console/first-start.ts'
import { encodeJson } from '../protocol/encode.ts'
import type { AppOptions, RunningBridge } from './options.ts'

/** The built files have the same place beside `src/` in a work tree and beside `dist/` in a package. */
const FOLDER = join(import.meta.dirname, '../../console/dist')

export interface ConsoleParts {
  readonly options: ConsoleOptions | undefined
  /** The secret behind the `#` of the link that a first start prints; undefined: nothing is to be set. */
  readonly firstStartSecret: string | undefined
}

/** Returns what the console needs of the bridge; `options` is undefined when it is switched off (`http.console`). */
export function consoleParts(
  core: Core,
  { config, clock, log, adminPassword: given }: AppOptions,
  { mqtt, tls, adminPassword }: Pick<RunningBridge, 'mqtt' | 'tls' | 'adminPassword'>,
): ConsoleParts {
  const { http } = config
  if (!http.enabled || !http.console) return { options: undefined, firstStartSecret: undefined }
  const { topicRoot } = config.mqtt
  const link = adminPassword.firstStart && given === undefined ? new FirstStartLink(clock) : undefined
  const facts = () => ({ topicRoot, mqtt, tls: tls ? { port: tls.port } : null })
  const setFirstPassword: SetFirstPassword | undefined =
    link &&
    (async (secret, password) => {
      if (!link.take(secret)) return 'gone'
      // A password that was chosen meanwhile is not set by who reads the link in the log.
      if (!(await isFirst(core, adminPassword.file))) return 'gone'
      if (!(await setAdminPassword(core, password))) {
        link.giveBack()
        return 'failed'
      }
      try {
        // What it holds is no password any more.
        rmSync(adminPassword.file, { force: true })
      } catch (error) {
        log.warn({ err: error }, `${adminPassword.file} holds no password any more: remove it`)
      }
      log.info({}, 'the password of the principal admin was set with the link of the first start')
      return 'set'
    })
  return { options: { folder: FOLDER, facts, setFirstPassword }, firstStartSecret: link?.secret }
}

/** Returns whether the password of `admin` is still the one that the first start made. */
async function isFirst(core: Core, file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  return text !== undefined && (await core.isPasswordOf('admin', text.trim()))
}

/** Sets the password as `admin` itself, so that the record says what happened; false when it could not be stored. */
async function setAdminPassword(core: Core, password: string): Promise<boolean> {
  const response = await singleRequest(core, {
    identity: { kind: 'principal', name: 'admin', role: 'admin', local: true },
    address: 'first start',
    verb: 'principal/set-password',
    payload: encodeJson({ name: 'admin', password }),
    signal: new AbortController().signal,
  })
  return (JSON.parse(Buffer.from(response).toString()) as { ok: boolean }).ok
}
