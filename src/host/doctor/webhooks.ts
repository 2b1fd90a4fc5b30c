import { existsSync } from 'node:fs'
import { messageOf } from '../../kernel/errors.ts'
import { isWebhookSecret } from '../../kernel/webhook-signature.ts'
import { isHttpUrl } from '../../protocol/texts.ts'
import type { Config } from '../config/config.ts'
import { CREDENTIALS_PREFIX, secretLines } from '../config/secret-lines.ts'
import { type CheckResult, ok, problem, warning } from './check-result.ts'

/** Looks at the files of webhooks and at what waits for them. It sends nothing: `webhook test` does. */

type Webhook = Config['webhooks'][number]

/** The deliveries of one webhook that wait in the database. */
export interface WaitingDeliveries {
  readonly count: number
  /** The most tries of one of them. */
  readonly attempts: number
}

/** `waiting` is by webhook. Credentials of the service are looked at only when `hasCredentials`. */
export function checkWebhooks(
  webhooks: readonly Webhook[],
  waiting: ReadonlyMap<string, WaitingDeliveries>,
  hasCredentials: boolean,
): readonly CheckResult[] {
  return webhooks.flatMap((webhook) => {
    const faults = faultsOf(webhook, hasCredentials)
    const what = `webhook ${webhook.name}`
    return faults.length > 0
      ? faults.map((text) => problem(what, text))
      : [stateOf(what, webhook, waiting.get(webhook.name))]
  })
}

function stateOf(what: string, { name, events }: Webhook, waiting: WaitingDeliveries | undefined) {
  if (waiting === undefined) return ok(what, `carries ${events.join(', ')}; nothing waits`)
  const { count, attempts } = waiting
  const wait = count === 1 ? '1 delivery waits' : `${count} deliveries wait`
  return attempts === 0
    ? ok(what, wait)
    : warning(
        what,
        `${wait}, tried up to ${attempts} times; \`limb-bridge webhook list\` says why, \`limb-bridge webhook test ${name}\` tries it now`,
      )
}

function faultsOf(webhook: Webhook, hasCredentials: boolean): string[] {
  const { urlFile, secretFile, tokenFile, allowPlaintext } = webhook
  const urlFault = (lines: readonly string[]) => {
    const [url = ''] = lines
    if (!isHttpUrl(url)) return 'holds no http:// or https:// URL in its first line'
    return url.startsWith('http:') && !allowPlaintext
      ? 'holds an http:// URL, where others can read along without TLS; set allowPlaintext: true in this webhook if that is meant'
      : undefined
  }
  const secretFault = (lines: readonly string[]) => {
    if (lines.length === 0) return 'holds no secret'
    const at = lines.findIndex((line) => !isWebhookSecret(line))
    return at < 0 ? undefined : `: its line ${at + 1} is not \`whsec_\` and the base64 of 24 to 64 bytes`
  }
  const tokenFault = ([token]: readonly string[]) => (token === undefined ? 'holds no token' : undefined)
  return [
    ...faultOf('urlFile', urlFile, hasCredentials, urlFault),
    ...faultOf('secretFile', secretFile, hasCredentials, secretFault),
    ...faultOf('tokenFile', tokenFile, hasCredentials, tokenFault),
  ]
}

function faultOf(
  key: string,
  file: string | undefined,
  hasCredentials: boolean,
  fault: (lines: readonly string[]) => string | undefined,
): string[] {
  if (file === undefined) return []
  const isCredential = file.startsWith(CREDENTIALS_PREFIX)
  // A missing file is a fault of the configuration, and told as such.
  if (isCredential ? !hasCredentials : !existsSync(file)) return []
  try {
    const found = fault(secretLines(file))
    return found === undefined ? [] : [`${key}: ${file} ${found}`.replace(' : ', ': ')]
  } catch (error) {
    return [`${key}: ${messageOf(error)}`]
  }
}
