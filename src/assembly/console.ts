import { join } from 'node:path'
import type { Config } from '../host/config/config.ts'
import type { ConsoleOptions } from '../http/console/console.ts'
import type { RunningBridge } from './options.ts'

/** The built files have the same place beside `src/` in a work tree and beside `dist/` in a package. */
const FOLDER = join(import.meta.dirname, '../../console/dist')

/** Returns what the console needs of the bridge; undefined when it is switched off (`http.console`). */
export function consoleOptions(
  { http, mqtt: { topicRoot } }: Config,
  { mqtt, tls }: Pick<RunningBridge, 'mqtt' | 'tls'>,
): ConsoleOptions | undefined {
  if (!http.console) return undefined
  return { folder: FOLDER, facts: () => ({ topicRoot, mqtt, tls: tls && { port: tls.port } }) }
}
