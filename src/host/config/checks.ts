import { isIP } from 'node:net'
import { isLoopbackAddress } from '../../kernel/address.ts'
import { SOCKET_PATH_MAX_BYTES } from '../../kernel/listening.ts'
import { filtersOverlap } from '../../protocol/filters.ts'
import { placeholderProblems } from './placeholders.ts'
import type { Settings } from './schema.ts'

/** Reports what no key can check alone. */

export interface CrossProblem {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

export function isLoopback(host: string): boolean {
  return isIP(host) > 0 ? isLoopbackAddress(host) : host.toLowerCase() === 'localhost'
}

/** Returns whether a literal start of the filter lies below the root, whose rights follow from the protocol alone. */
function entersRoot(filter: string, root: string): boolean {
  const levels = filter.split('/')
  return root.split('/').every((level, i) => levels[i] === level)
}

function grantProblems({ mqtt: { grants, topicRoot } }: Settings): CrossProblem[] {
  const below = `${topicRoot}/#`
  const message = (filter: string) =>
    `found "${filter}", which can match topics of the root \`${topicRoot}\`, whose rights follow from roles; grant topics outside it, such as "home/#"`
  return grants.flatMap((grant, i) =>
    (['publish', 'subscribe'] as const).flatMap((side) =>
      grant[side].flatMap((filter, j) =>
        filtersOverlap(filter, below)
          ? [{ path: ['mqtt', 'grants', i, side, j], message: message(filter) }]
          : [],
      ),
    ),
  )
}

function plaintextProblems(settings: Settings): CrossProblem[] {
  if (settings.mqtt.allowPlaintext) return []
  const listeners = [
    { path: ['mqtt', 'host'], host: settings.mqtt.host },
    ...(settings.http.enabled && !settings.http.tls
      ? [{ path: ['http', 'host'], host: settings.http.host }]
      : []),
  ]
  return listeners
    .filter(({ host }) => !isLoopback(host))
    .map(({ path, host }) => ({
      path,
      message: `found "${host}", which others can reach without TLS; use TLS, set mqtt.allowPlaintext: true if that is meant, or listen on 127.0.0.1`,
    }))
}

function tlsProblems({ tls, http }: Settings): CrossProblem[] {
  const wanted = [...(tls.enabled ? ['tls.enabled'] : []), ...(http.enabled && http.tls ? ['http.tls'] : [])]
  if (wanted.length === 0) return []
  const missing = (key: 'certFile' | 'keyFile' | 'caFile', why: string) =>
    tls[key] === null ? [{ path: ['tls', key], message: `is needed with ${why}` }] : []
  return [
    ...missing('certFile', wanted.join(' and ')),
    ...missing('keyFile', wanted.join(' and ')),
    ...(tls.requireClientCertificate ? missing('caFile', 'tls.requireClientCertificate') : []),
    ...(tls.crlFile === null ? [] : missing('caFile', 'tls.crlFile')),
  ]
}

function uplinkProblems({ uplinks }: Settings): CrossProblem[] {
  return uplinks.flatMap((uplink, i) => {
    const problems: CrossProblem[] = []
    const problem = (key: string, message: string) => problems.push({ path: ['uplinks', i, key], message })
    const { protocol, hostname } = new URL(uplink.url)
    if (protocol === 'mqtt:' && !uplink.allowPlaintext && !isLoopback(hostname.replace(/^\[|\]$/g, ''))) {
      problem(
        'url',
        `found "${uplink.url}", where others can read along without TLS; set allowPlaintext: true in this uplink if that is meant, or use mqtts://`,
      )
    }
    if (uplink.password !== undefined && uplink.passwordFile !== undefined) {
      problem('passwordFile', 'stands beside password; keep one of them')
    }
    if (uplinks.findIndex(({ name }) => name === uplink.name) < i) {
      problem('name', `found "${uplink.name}" a second time; each uplink has a name of its own`)
    }
    if (uplinks.findIndex(({ url, prefix }) => url === uplink.url && prefix === uplink.prefix) < i) {
      problem('prefix', `found "${uplink.prefix}" a second time for ${uplink.url}`)
    }
    return problems
  })
}

function webhookProblems({ webhooks }: Settings): CrossProblem[] {
  return webhooks.flatMap((webhook, i) => {
    const { name, url, urlFile, format } = webhook
    const problems: CrossProblem[] = []
    const problem = (key: string, message: string) => problems.push({ path: ['webhooks', i, key], message })
    for (const key of ['url', 'secret', 'token'] as const) {
      if (webhook[key] !== undefined && webhook[`${key}File`] !== undefined)
        problem(`${key}File`, `stands beside ${key}; keep one of them`)
    }
    if (url === undefined && urlFile === undefined) problem('url', 'is needed, or urlFile')
    if (url !== undefined && isOpenPlaintext(url) && !webhook.allowPlaintext) {
      problem(
        'url',
        'is http://, where others can read along without TLS; set allowPlaintext: true in this webhook if that is meant, or use https://',
      )
    }
    if (format === 'standard' && webhook.secret === undefined && webhook.secretFile === undefined) {
      problem('secretFile', 'is needed, or secret: what is sent in this format is signed')
    }
    if (format === 'telegram' && webhook.chat === undefined) problem('chat', 'is needed for Telegram')
    if (webhooks.findIndex((other) => other.name === name) < i) {
      problem('name', `found "${name}" a second time; each webhook has a name of its own`)
    }
    return problems
  })
}

function isOpenPlaintext(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, ''))
}

/** Bytes of a topic beside which the name of a session still fits into a row of PostgreSQL's indexes, of 2,704. */
const POSTGRES_TOPIC_BYTES = 2048

function storeProblems({ store: { kind, url }, mqtt: { maxTopicBytes } }: Settings): CrossProblem[] {
  if (kind === 'sqlite') return []
  const problems: CrossProblem[] = []
  if (url === null) problems.push({ path: ['store', 'url'], message: 'is needed with store.kind: postgres' })
  if (maxTopicBytes > POSTGRES_TOPIC_BYTES) {
    problems.push({
      path: ['mqtt', 'maxTopicBytes'],
      message: `found ${maxTopicBytes}; at most ${POSTGRES_TOPIC_BYTES} with store.kind: postgres, whose indexes take no longer topics`,
    })
  }
  return problems
}

function homeAssistantProblems({ homeAssistant, mqtt, uplinks }: Settings): CrossProblem[] {
  const { prefix, enabled } = homeAssistant
  const roots = [
    ...(enabled ? [mqtt.topicRoot] : []),
    ...uplinks.flatMap((uplink) => (uplink.homeAssistant ? [uplink.prefix] : [])),
  ]
  return roots
    .filter((root) => entersRoot(prefix, root) || entersRoot(root, prefix))
    .map((root) => ({
      path: ['homeAssistant', 'prefix'],
      message: `found "${prefix}"; it must be apart from \`${root}\`, where the bridge's own topics are`,
    }))
}

function adapterProblems({ adapters, mqtt: { topicRoot } }: Settings): CrossProblem[] {
  return (['homeAssistant', 'tasmota'] as const)
    .filter((kind) => adapters[kind])
    .map((kind) => `${kind}Prefix` as const)
    .filter((key) => entersRoot(adapters[key], topicRoot) || entersRoot(topicRoot, adapters[key]))
    .map((key) => ({
      path: ['adapters', key],
      message: `found "${adapters[key]}"; it must be apart from \`${topicRoot}\`, where the bridge's own topics are`,
    }))
}

export function crossProblems(settings: Settings, socket: string): CrossProblem[] {
  const problems = [
    ...grantProblems(settings),
    ...plaintextProblems(settings),
    ...tlsProblems(settings),
    ...uplinkProblems(settings),
    ...webhookProblems(settings),
    ...storeProblems(settings),
    ...homeAssistantProblems(settings),
    ...adapterProblems(settings),
    ...placeholderProblems(settings),
  ]
  const { heartbeatSeconds, timeoutSeconds } = settings.presence
  if (timeoutSeconds <= heartbeatSeconds) {
    problems.push({
      path: ['presence', 'timeoutSeconds'],
      message: `found ${timeoutSeconds}; allowed: more than presence.heartbeatSeconds, which is ${heartbeatSeconds}`,
    })
  }
  const bytes = Buffer.byteLength(socket)
  if (bytes > SOCKET_PATH_MAX_BYTES) {
    problems.push({
      path: ['control', 'socket'],
      message: `the path has ${bytes} bytes, and a Unix socket's at most ${SOCKET_PATH_MAX_BYTES}: ${socket}`,
    })
  }
  return problems
}
