import { isIP } from 'node:net'
import { z } from 'zod'
import { isWebhookSecret } from '../../kernel/webhook-signature.ts'
import { isFilter } from '../../protocol/filters.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { LEVELS, nameSchema } from '../../protocol/names.ts'
import { isHttpUrl } from '../../protocol/texts.ts'
import { DATA_BELOW_ROOT, filterCovers } from '../../protocol/topics.ts'
import { WEBHOOK_EVENTS, WEBHOOK_FORMATS, WEBHOOK_PRESET } from '../../protocol/webhooks.ts'

/**
 * Every setting: its default, its bounds and what it means. The types, the checks, `config/limb-bridge.yaml`
 * and `docs/configuration.md` are made from this, and so is what a reload takes over. A key of an existing section is
 * added here, and in the type of the part that reads it.
 */

/** The words of a leaf about itself beside its description. */
export interface LeafMeta {
  /** The environment variable that overrides it. */
  readonly env?: string
  /** Never shown. */
  readonly secret?: boolean
  /** The values that may stand there, in words, where bounds and choices do not say it. */
  readonly allowed?: string
  /** The default in words, when it is made from another key. */
  readonly defaultText?: string
  /** `live`: a reload takes it over in the running bridge. Absent: it needs a restart. */
  readonly reload?: 'live'
}

const YEAR_SECONDS = 31_536_000

function whole(min: number, max: number, preset: number, description: string, more: LeafMeta = {}) {
  return z
    .int()
    .min(min)
    .max(max)
    .default(preset)
    .meta({ description, ...more })
}

function flag(preset: boolean, description: string, more: LeafMeta = {}) {
  return z
    .boolean()
    .default(preset)
    .meta({ description, ...more })
}

const HOST = /^[A-Za-z0-9:.%_-]{1,253}$/

function host(description: string, env: string, preset = '127.0.0.1') {
  return z
    .string()
    .regex(HOST, { error: 'is not a host name or address' })
    .default(preset)
    .meta({ description, env, allowed: 'an address or host name; `0.0.0.0` or `::` for every interface' })
}

function port(preset: number, description: string, env: string) {
  return whole(0, 65_535, preset, `${description} 0 takes any free one.`, { env })
}

function filePath() {
  return z
    .string()
    .min(1)
    .max(4096)
    .refine((text) => !text.includes('\0'), { error: 'contains a NUL' })
}

/** `$share` and `$SYS` are nobody's to grant. */
function isGrantFilter(filter: string): boolean {
  return !filter.startsWith('$') && isFilter(filter)
}

const grantFilter = z
  .string()
  .min(1)
  .max(1024)
  .refine(isGrantFilter, { error: 'is not an MQTT topic filter that can be granted' })
  .meta({ allowed: 'a topic filter such as `homeassistant/#`, not starting with `$`' })

/** An address, or a network in CIDR form. */
function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
}

const network = z
  .string()
  .max(64)
  .refine(isNetwork, { error: 'is not an address or a network' })
  .meta({ allowed: 'an address, or a network such as `192.168.0.0/16`' })

function proxies(what: string) {
  return z
    .array(network)
    .max(100)
    .default([])
    .meta({
      description: `The proxies in front of ${what}: each connection from there must begin with a header of the PROXY protocol, version 1 or 2, and the address that it announces is the client's, in limits of sign-ins and connections, logs and events. From everywhere else a header is refused. Name nothing but proxies: whoever comes from there says who it is.`,
      allowed: 'a list of addresses and networks such as `[127.0.0.1, 10.0.0.0/28]`',
    })
}

const grant = z.strictObject({
  to: nameSchema.meta({ allowed: 'a principal, a role, `limb` or `candidate`' }),
  publish: z.array(grantFilter).max(100).default([]),
  subscribe: z.array(grantFilter).max(100).default([]),
})

const TOPIC_ROOT = /^[A-Za-z0-9][A-Za-z0-9_-]*(\/[A-Za-z0-9][A-Za-z0-9_-]*){0,3}$/

const mqtt = z.strictObject({
  host: host('Where plain MQTT listens.', 'LIMB_MQTT_HOST'),
  port: port(1883, 'The TCP port of plain MQTT.', 'LIMB_MQTT_PORT'),
  allowPlaintext: flag(
    false,
    'Must be true before the bridge listens on anything but loopback without TLS: whoever is on that network can then read keys and passwords.',
  ),
  proxyNetworks: proxies('plain MQTT'),
  topicRoot: z.string().max(63).regex(TOPIC_ROOT, { error: 'is not a topic root' }).default('limb').meta({
    description: 'The first level of every topic of the protocol.',
    allowed: 'one to four levels of letters, digits, `_` and `-`, such as `limb` or `site1/limb`',
  }),
  // For what is published, subscribed and delivered from then on, by the sessions that are there too.
  grants: z.array(grant).max(1000).default([]).meta({
    reload: 'live',
    description:
      "Further rights, for topics outside the root. Each entry: `to`, and the topic filters it may `publish` and `subscribe`. In a filter `%u` stands for the name of the session (the nodeId of a limb) and `%c` for its client id, as in Mosquitto: `tele/%u/#` gives each limb its own topics and nobody else's.",
    allowed:
      'a list such as `[{to: limb, publish: ["tele/%u/#"], subscribe: ["cmnd/%u/#"]}]`; `to` is a principal, a role, `limb` or `candidate`',
  }),
  versions: z
    .array(z.literal([3, 4, 5]))
    .min(1)
    .default([3, 4, 5])
    .meta({
      reload: 'live',
      description:
        'The versions of MQTT that clients may speak: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5. A client of another one is told so when it connects.',
      allowed: 'a list of 3, 4 and 5, such as `[4, 5]`',
    }),
  maxConnections: whole(1, 1_000_000, 20_000, 'Connections in all.', { reload: 'live' }),
  maxConnectionsPerAddress: whole(
    1,
    1_000_000,
    2000,
    'Connections from one address. A whole building may stand behind one router.',
    { reload: 'live' },
  ),
  connectSeconds: whole(1, 120, 10, 'How long a new connection may take to sign in.', { reload: 'live' }),
  maxConnectBytes: whole(
    512,
    65_536,
    4864,
    'Bytes that are read from a connection before it has signed in. The default has room for a will of 4096 bytes beside names and a key.',
    { reload: 'live' },
  ),
  maxStrangerBytes: whole(
    1_048_576,
    17_179_869_184,
    50_331_648,
    'Memory of all connections together that have shown no key or password: those that have not signed in, and candidates. When it is used up, the oldest of them are ended; limbs and principals are not concerned.',
    { reload: 'live' },
  ),
  maxPacketBytes: whole(
    LIMITS.registrationBytes + 4096,
    16_777_216,
    1_310_720,
    'The largest packet of a session that has signed in. A larger message, up to 64 MiB, is dropped, acknowledged and counted, and who waits for a result or an answer in it is told; any other larger packet ends the session, and so does such a message at QoS 0 over MQTT 5.',
    { reload: 'live' },
  ),
  // Both hold for sessions that begin from then on.
  maxMessagesPerSecond: whole(
    10,
    1_000_000,
    2000,
    'Messages that one session may send in a second, after a burst of two seconds; a faster one is read more slowly, and nothing of it is lost. Not on the control socket.',
    { reload: 'live' },
  ),
  maxBytesPerSecond: whole(16_384, 1_073_741_824, 4_194_304, 'The same in bytes.', { reload: 'live' }),
  maxWorkMsPerSecond: whole(
    10,
    1000,
    500,
    'Milliseconds of the event loop that the requests of one principal may take in a second, all its sessions together, after a burst of two seconds. More of them wait, and beyond 64 they are refused with `too_many_requests`. Not on the control socket.',
    { reload: 'live' },
  ),
  maxFailedSignIns: whole(
    1,
    10_000,
    10,
    'How many wrong passwords of one principal may come from one address. After that, the bridge refuses this principal from this address for `failedSignInSeconds`. From the third wrong password on, you have to wait before the next try, longer each time. Ten times as many from one address, or for one principal, shut out the whole address, or the principal.',
    { reload: 'live' },
  ),
  failedSignInSeconds: whole(1, 86_400, 300, 'How long that while is. Limbs are never shut out by it.', {
    reload: 'live',
  }),
  maxKeepaliveSeconds: whole(10, 65_535, 3600, 'The longest keepalive that is accepted.', { reload: 'live' }),
  allowKeepaliveZero: flag(
    false,
    'Whether a client may have no keepalive at all (0). MQTT then never finds out that it is gone: only probes of TCP do, after minutes.',
    { reload: 'live' },
  ),
  maxSubscriptionsPerSession: whole(
    4,
    10_000,
    100,
    'Subscriptions of one session of a limb or a candidate.',
    {
      reload: 'live',
    },
  ),
  maxSubscriptionsPerPrincipal: z.int().min(4).max(10_000_000).nullable().default(null).meta({
    description:
      'Subscriptions of all sessions of one principal together, those of stored sessions that are away included. A level with a wildcard counts as two more, each 128 characters as one more, and a shared subscription 16 times. Home Assistant has two for each limb; `null` is 16 for each approved limb and 1000, at most three for each of `maxConnections` and 1000.',
    allowed: 'a whole number from 4 to 10000000, or `null`',
    reload: 'live',
  }),
  maxTopicBytes: whole(
    256,
    65_535,
    1024,
    'The longest topic or filter, in bytes; at most 2048 with `store.kind: postgres`.',
    { reload: 'live' },
  ),
  maxTopicLevels: whole(8, 100, 16, 'The most levels of a topic or filter.', { reload: 'live' }),
  maxInflightPerSession: whole(
    1,
    65_535,
    100,
    'Messages on their way to one session that it has not acknowledged; also QoS 2 messages of a session that it has not released.',
    { reload: 'live' },
  ),
  maxQueuedPerSession: whole(
    0,
    1_000_000,
    1000,
    'Messages kept for a persistent session while it is away; later ones are dropped and counted.',
    { reload: 'live' },
  ),
  maxQueuedBytesPerIdentity: whole(
    65_536,
    1_099_511_627_776,
    67_108_864,
    'Bytes of the messages that are kept for all sessions of one limb or principal while they are away; later ones are dropped and counted.',
    { reload: 'live' },
  ),
  maxQueuedBytes: whole(
    1_048_576,
    1_099_511_627_776,
    536_870_912,
    'The same for all sessions of everybody together.',
    { reload: 'live' },
  ),
  maxStoredSessionsPerIdentity: whole(
    1,
    100_000,
    12,
    'Persistent sessions that are kept for one limb or principal while they are away. Another one lets the oldest of them go, with its subscriptions and its queue.',
    { reload: 'live' },
  ),
  maxPartialBytesPerIdentity: whole(
    65_536,
    1_099_511_627_776,
    16_777_216,
    'Bytes of the packets of one limb or principal, over all its sessions, that have begun to arrive and are not whole. What finds no room is read later; one packet always has room.',
    { reload: 'live' },
  ),
  maxPartialBytes: whole(
    65_536,
    1_099_511_627_776,
    67_108_864,
    'The same for all limbs and principals together. A packet that is not whole after 30 seconds, while others wait for its room, ends its connection.',
    { reload: 'live' },
  ),
  maxUnsentBytesPerIdentity: whole(
    1_048_576,
    1_099_511_627_776,
    33_554_432,
    'Bytes that all sessions of one limb or principal were sent and have not taken, those that keep up left out; a large message that several of them wait for counts once. Beyond it the session for which most waits ends.',
    { reload: 'live' },
  ),
  maxUnsentBytes: whole(
    1_048_576,
    1_099_511_627_776,
    67_108_864,
    'The same for all limbs and principals together. Beyond it whoever has most waiting loses a session.',
    { reload: 'live' },
  ),
  maxSessionsPerPrincipal: whole(
    1,
    1_000_000,
    256,
    'Live sessions of one principal, the control socket not counted; the next one ends the oldest. A limb has at most 16.',
    { reload: 'live' },
  ),
  maxRetainedPerNode: whole(
    0,
    100_000,
    256,
    'Retained `data/…` messages of one limb; further topics are refused.',
    { reload: 'live' },
  ),
  maxRetained: whole(
    0,
    10_000_000,
    100_000,
    'Retained messages in all, without those of the bridge itself.',
    { reload: 'live' },
  ),
  maxRetainedBytesPerNode: whole(
    4096,
    1_099_511_627_776,
    16_777_216,
    'Bytes of the retained `data/…` messages of one limb. A message beyond it is delivered, but not retained, and what was retained on its topic is removed, because it is out of date.',
    { reload: 'live' },
  ),
  maxRetainedBytes: whole(
    1_048_576,
    1_099_511_627_776,
    536_870_912,
    'The same for all retained messages together, without those of the bridge itself.',
    { reload: 'live' },
  ),
  maxSessionBufferBytes: whole(
    65_536,
    268_435_456,
    1_048_576,
    'Bytes that wait for one slow reader. Beyond it QoS 0 is dropped, then the session ends.',
    { reload: 'live' },
  ),
  sessionExpirySeconds: whole(
    60,
    YEAR_SECONDS,
    604_800,
    'A persistent session that nobody used for so long is forgotten.',
    { reload: 'live' },
  ),
})

const http = z.strictObject({
  enabled: flag(
    true,
    'Serves `/healthz`, `/readyz`, `/metrics`, and MQTT over WebSocket at `/mqtt`, as plain HTTP.',
  ),
  host: host('Where HTTP listens.', 'LIMB_HTTP_HOST'),
  port: port(8083, 'The TCP port of HTTP.', 'LIMB_HTTP_PORT'),
  proxyNetworks: proxies('HTTP and MQTT over WebSocket'),
  token: z
    .string()
    .min(16)
    .max(256)
    .regex(/^[\x21-\x7e]+$/, { error: 'has a character that an HTTP header cannot carry' })
    .nullable()
    .default(null)
    .meta({
      reload: 'live',
      description: 'With a token, `/metrics` wants `Authorization: Bearer <token>`.',
      allowed: '16 to 256 visible ASCII characters, or `null` for none',
      secret: true,
    }),
  api: flag(
    true,
    'Serve the HTTP API below `/api/`: verbs at `POST /api/v1/<verb>`, events at `GET /api/v1/events`, and limbs that speak HTTP at `/api/limb/`. Everybody signs in; whoever can reach the port without TLS can read what is sent.',
  ),
  console: flag(
    true,
    'Serve the web console at `/`: a page in which people sign in with their own name and see and do what their role may.',
  ),
  mcp: flag(
    true,
    'Serve the Model Context Protocol at `/mcp`, for agents on other machines. They sign in as principals do; mcp.md among the documents says how.',
  ),
  allowedHosts: z
    .array(
      z
        .string()
        .regex(/^[A-Za-z0-9._-]{1,253}$/, { error: 'is not a host name' })
        .meta({ allowed: 'a host name without port, such as `bridge.lan`' }),
    )
    .max(100)
    .default([])
    .meta({
      reload: 'live',
      description:
        'Host names by which clients may ask for `/mcp`. You need no entry for an IP address, `localhost`, the name of the machine, and the names in `publicUrl` and `allowedOrigins`. Another name in the header `Host` is refused, because a web page can point a name of its own to this address.',
      allowed: 'a list of host names such as `bridge.lan`',
    }),
  publicUrl: z
    .string()
    .max(500)
    .refine((text) => isHttpUrl(text) && new URL(text).search === '' && new URL(text).hash === '', {
      error: 'must be an http:// or https:// URL without user name, query and fragment',
    })
    .nullable()
    .default(null)
    .meta({
      reload: 'live',
      description:
        'The address by which people and programs reach the web server from elsewhere. It stands in links that the bridge sends, and in the metadata of `/mcp`.',
      allowed: 'a URL such as `https://bridge.example`, or `null`',
    }),
  allowedOrigins: z
    .array(
      z
        .string()
        .regex(/^(\*|https?:\/\/[^/\s]{1,255})$/, { error: 'is not an origin' })
        .meta({ allowed: 'an origin such as `https://dash.example`, or `*`' }),
    )
    .max(100)
    .default([])
    .meta({
      reload: 'live',
      description:
        "The web pages that may open `/mqtt` in a browser. A browser names the page in the header `Origin`. You need no entry for a program that sends no `Origin`, as most do. You need none either when the `Origin` is the IP address (or `localhost`, or the own name of the bridge's machine, also with `.local`) and the port that the client connects to: paho sends it so, and so does the console. You need one for a page, or a console, at another DNS name.",
      allowed: 'a list of origins such as `https://dash.example`; `*` for any',
    }),
  tls: flag(
    false,
    'Serves HTTPS, and MQTT over WebSocket as `wss`, with the certificate of the section `tls`; plain HTTP is off then.',
  ),
})

function pemFile(description: string) {
  return filePath()
    .nullable()
    .default(null)
    .meta({ description, allowed: 'a path (a relative one starts at the working directory), or `null`' })
}

const tls = z.strictObject({
  enabled: flag(false, 'Listens for MQTT over TLS. `certFile` and `keyFile` are needed then.'),
  host: host('Where MQTT over TLS listens.', 'LIMB_TLS_HOST', '0.0.0.0'),
  port: port(8883, 'The TCP port of MQTT over TLS.', 'LIMB_TLS_PORT'),
  proxyNetworks: proxies('MQTT over TLS, which hand it through as it is'),
  certFile: pemFile(
    'The certificate, PEM, with its chain. A change of any of these files is noticed within ten seconds, and at SIGHUP; sessions stay.',
  ),
  keyFile: pemFile('Its private key, PEM, without a passphrase.'),
  caFile: pemFile(
    'Authorities, PEM, whose client certificates are believed: the common name of a certificate is then the name of a limb, which needs no key.',
  ),
  crlFile: pemFile('Client certificates that were revoked, PEM. One that is out of date refuses all.'),
  requireClientCertificate: flag(
    false,
    'Nobody gets in over TLS, or over `wss` if `http.tls` is true, without a certificate of `caFile`.',
  ),
  minVersion: z
    .enum(['TLSv1.2', 'TLSv1.3'])
    .default('TLSv1.2')
    .meta({ description: 'The oldest version of TLS that is spoken.' }),
})

const control = z.strictObject({
  socket: filePath().nullable().default(null).meta({
    description:
      'The Unix socket of the local administrator. It speaks MQTT without a password: its file mode is the protection.',
    env: 'LIMB_CONTROL_SOCKET',
    allowed: 'a path of at most 107 bytes, or `null`',
    defaultText: '`control.sock` beside the database',
  }),
  mode: z
    .string({ error: 'must be quoted, so that YAML leaves it a text' })
    .regex(/^0[0-7]{3}$/, { error: 'is not a file mode' })
    .default('0660')
    .meta({
      description: 'The file mode of the control socket: who may write to it is admin.',
      allowed: 'four octal digits in quotes, such as `"0600"` or `"0660"`',
    }),
})

/** Names that PostgreSQL takes without quotes. */
const SCHEMA = /^[a-z_][a-z0-9_]{0,62}$/

const store = z.strictObject({
  kind: z.enum(['sqlite', 'postgres']).default('sqlite').meta({
    description:
      '`sqlite`: a file of this machine, the default. `postgres`: the server of `url`, for who must not lose service with a machine ([high availability](high-availability.md)).',
    env: 'LIMB_STORE',
  }),
  path: filePath().default('data/limb.sqlite').meta({
    description:
      'The SQLite database. Its folder is made when it is missing; `:memory:` keeps nothing. With `postgres` its folder is where the control socket and the files of this machine are, and no database.',
    env: 'LIMB_DB',
    allowed: 'a path (a relative one starts at the working directory), or `:memory:`',
  }),
  maxBytes: whole(
    16_777_216,
    17_592_186_044_416,
    8_589_934_592,
    'The last bound of the database, behind those of all that is kept in it. At it, messages, answers and presence history are not stored any more, and new invocations, leases and requests to be paired are refused with `storage_unavailable`. Revocations, denials and all other decisions go on, from a reserve of 64 MiB beyond it.',
    { reload: 'live' },
  ),
  url: z
    .string()
    .max(1000)
    .refine((text) => postgresUrlProblem(text) === undefined, {
      error: ({ input }) => postgresUrlProblem(String(input)) ?? 'is not such a URL',
    })
    .nullable()
    .default(null)
    .meta({
      description:
        'The PostgreSQL server, 14 or newer, and the database there. Needed with `kind: postgres`. Over a network it is TLS, and the certificate must be good for the name in the URL.',
      env: 'LIMB_STORE_URL',
      allowed:
        '`postgres://user@host:port/database`, or `postgres://user@localhost/database?host=/run/postgresql` for a Unix socket; no password in it',
    }),
  schema: z.string().regex(SCHEMA, { error: 'is not such a name' }).default('limb').meta({
    description:
      'The schema of PostgreSQL that the tables are in; it is made when it is missing. It belongs to this bridge alone.',
    allowed: 'lower-case letters, digits and `_`, at most 63',
  }),
  passwordFile: serverFile(
    "A file whose first line is the password of the user in `url`, read at each connection, so that a new one needs no restart. `%d` at its beginning stands for the folder of systemd's credentials.",
  ),
  caFile: filePath().nullable().default(null).meta({
    description:
      "PEM file with the authorities that sign the server's certificate, in place of those of the machine. With it, TLS is spoken to a server of this machine too.",
    allowed: 'a path such as `/etc/limb-bridge/database-ca.pem`, or `null`',
  }),
  allowPlaintext: flag(
    false,
    'Must be true for a server that is not on this machine and speaks no TLS: whoever is on that network can then read and change everything.',
  ),
  secretFile: serverFile(
    'A file with a secret of 32 characters or more. The secrets that lie in files beside an SQLite database (`invoke-secret`, the first password of `admin`) lie in the PostgreSQL database then, sealed with it, so that another machine with the same file can take over. Absent: they lie in the folder of `path`. `%d` as above.',
  ),
})

function serverFile(description: string) {
  return filePath().nullable().default(null).meta({
    description,
    allowed: 'a path such as `/etc/limb-bridge/database` or `%d/database`, or `null`',
  })
}

/** Says what is wrong with the URL of a server; a password in it would be shown wherever settings are. */
export function postgresUrlProblem(text: string): string | undefined {
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) return 'is not such a URL'
  const { username, password, hostname, pathname, searchParams } = new URL(text)
  if (password !== '') return 'has a password in it; put it into a file, and name that in store.passwordFile'
  if (username === '') return 'names no user'
  if (pathname.length < 2) return 'names no database'
  const unknown = [...searchParams.keys()].find((key) => key !== 'host')
  if (unknown !== undefined)
    return `has the parameter ${JSON.stringify(unknown)}; only host is read here: TLS is spoken by itself, see store.caFile and store.allowPlaintext`
  const folder = searchParams.get('host')
  if (folder !== null && !folder.startsWith('/')) return 'has a host that is no folder of a Unix socket'
  return hostname === '' ? 'names no host' : undefined
}

const pairing = z.strictObject({
  pendingSeconds: whole(
    1,
    YEAR_SECONDS,
    86_400,
    'A request ends after so long without a sign of the candidate.',
    { reload: 'live' },
  ),
  rejectedSeconds: whole(
    0,
    YEAR_SECONDS,
    86_400,
    'How long a rejected or revoked key may not even connect.',
    { reload: 'live' },
  ),
  maxPending: whole(1, 100_000, 1000, 'Requests that wait, in all.', { reload: 'live' }),
  maxPendingPerAddress: whole(1, 100_000, 10, 'Requests that wait, from one address; an IPv6 /64 is one.', {
    reload: 'live',
  }),
  maxPendingBytes: whole(
    262_144,
    1_073_741_824,
    4_194_304,
    'Bytes of the registrations of requests that wait, in all. At a start, the requests that were heard of last are kept within it and within `maxPending`.',
    { reload: 'live' },
  ),
})

const presence = z.strictObject({
  // A limb without an interval of its own is told of it at its next registration.
  heartbeatSeconds: whole(
    1,
    LIMITS.heartbeatSecondsMax,
    15,
    'How often a limb is asked to send a heartbeat, unless it registers an interval of its own.',
    { reload: 'live' },
  ),
  timeoutSeconds: whole(
    2,
    4 * LIMITS.heartbeatSecondsMax,
    45,
    'Without a heartbeat for so long a limb is offline. More than `heartbeatSeconds`. A limb with an interval of its own has three times that.',
    { reload: 'live' },
  ),
  graceSeconds: whole(
    0,
    300,
    5,
    'After a lost connection a limb may come back with a heartbeat for so long before it is offline.',
    { reload: 'live' },
  ),
  maxChangesPerSecond: whole(
    1,
    1000,
    3,
    'Changes of one limb that reach log, history, events and retained topics in a second, after twice as many at once; of more, the newest is told and the limb is named as flapping.',
    { reload: 'live' },
  ),
  stateRefreshSeconds: whole(
    0,
    86_400,
    60,
    'A retained `state` is published anew so often, while the limb is heard, to refresh metrics and the last heartbeat; 0 never.',
    { reload: 'live' },
  ),
  saveSeconds: whole(
    1,
    3600,
    30,
    'The times of the last heartbeats are stored in one batch every so many seconds, and at a clean stop.',
    { reload: 'live' },
  ),
})

const policy = z.strictObject({
  floor: z.enum(LEVELS).default('free').meta({
    description:
      'No decision is looser than this, whatever policies and limbs say: `gated` lets an operator approve every invocation.',
  }),
})

const lead = z.strictObject({
  fenceSeconds: whole(
    5,
    86_400,
    30,
    'On PostgreSQL: a bridge that has lost its lock, because the server is away or fails over, goes on with its limbs for so long and tries to have it again. Then it ends, and another one may lead ([high availability](high-availability.md)).',
    { reload: 'live' },
  ),
})

const lease = z.strictObject({
  ttlSeconds: whole(
    1,
    LIMITS.leaseSecondsMax,
    60,
    'How long a lease lasts unless it says so or is renewed.',
    { reload: 'live' },
  ),
  maxPerPrincipal: whole(1, 10_000, 256, 'Leases and places in queues of one principal.', { reload: 'live' }),
  maxQueued: whole(0, 10_000, 100, 'Those who may wait for one capability of one limb.', { reload: 'live' }),
})

const invocation = z.strictObject({
  timeoutSeconds: whole(
    1,
    LIMITS.invokeSecondsMax,
    30,
    'How long a limb may take to answer an invocation unless it says so.',
    { reload: 'live' },
  ),
  approvalSeconds: whole(
    1,
    86_400,
    300,
    'A gated invocation ends after so long without a decision of an operator.',
    { reload: 'live' },
  ),
  maxPerNode: whole(1, 10_000, 16, 'Invocations that one limb works on at once.', { reload: 'live' }),
  maxPerPrincipal: whole(
    1,
    10_000,
    64,
    'Invocations of one principal under way at once, those that wait included.',
    { reload: 'live' },
  ),
  maxWaiting: whole(1, 10_000, 1000, 'Gated invocations that wait for an operator, in all.', {
    reload: 'live',
  }),
  maxOfflinePerPrincipal: whole(
    1,
    10_000,
    64,
    'Invocations of one principal with `offlineWaitSeconds` under way at once.',
    { reload: 'live' },
  ),
  maxOfflinePerNode: whole(1, 10_000, 32, 'Invocations that wait for one limb to come back.', {
    reload: 'live',
  }),
  maxKeysPerPrincipal: whole(
    1,
    1_000_000,
    10_000,
    'Idempotency keys that one principal may use in a day; the answers are kept as long.',
    { reload: 'live' },
  ),
  maxAnswerBytesPerPrincipal: whole(
    65_536,
    1_099_511_627_776,
    67_108_864,
    'Bytes of the answers that are kept for the idempotency keys of one principal. Beyond it the oldest answers go; their keys stay known, so that no command runs twice.',
    { reload: 'live' },
  ),
  maxAnswerBytes: whole(
    1_048_576,
    1_099_511_627_776,
    268_435_456,
    'The same for all principals together; the oldest answers of whoever holds most go.',
    { reload: 'live' },
  ),
  httpNetworks: z.array(network).max(100).default([]).meta({
    reload: 'live',
    description:
      'Where limbs with `"invoke": "http"` may have their endpoints. Empty: only at the address that the limb itself connects from, and never on the machine of the bridge itself. With `127.0.0.1` among them, limbs on that machine are invoked too.',
    allowed: 'a list of addresses and networks such as `[192.168.0.0/16, "fd00::/8"]`',
  }),
  caFile: filePath().nullable().default(null).meta({
    reload: 'live',
    description:
      'PEM file with authorities that sign the certificates of limbs with an `https://` endpoint, beside those of the machine. A change of the file counts at the next invocation.',
    allowed: 'a path (a relative one starts at the working directory), or `null`',
  }),
})

const backup = z.strictObject({
  everyHours: whole(
    0,
    8760,
    24,
    'A backup of the database is made and checked every so many hours; 0: only with `limb-bridge backup create`.',
    { reload: 'live' },
  ),
  keep: whole(
    1,
    1000,
    7,
    'The newest so many backups are kept; older ones are removed after the next one is made.',
    { reload: 'live' },
  ),
  maxBytes: whole(
    1_048_576,
    17_592_186_044_416,
    34_359_738_368,
    'Bytes of all backups together: of those that `keep` keeps, the oldest go beyond it. The newest is kept in any case.',
    { reload: 'live' },
  ),
  folder: filePath().nullable().default(null).meta({
    description:
      'Where backups are written. On another disk they survive this one; each needs about as much room as the database.',
    allowed: 'a path, or `null`',
    defaultText: '`backups` beside the database',
  }),
})

const retention = z.strictObject({
  historyDays: whole(1, 36_500, 90, 'When each limb came and went is kept for so long.', { reload: 'live' }),
  maxHistoryRows: whole(
    1000,
    100_000_000,
    1_000_000,
    'So many changes of status are kept, in all; some 60 bytes each. The oldest go first.',
    { reload: 'live' },
  ),
  invocationDays: whole(1, 36_500, 7, 'Ended invocations are listed for so long.', { reload: 'live' }),
  maxInvocations: whole(
    1000,
    100_000_000,
    100_000,
    'Invocations that are kept, in all; the oldest ended ones go first.',
    { reload: 'live' },
  ),
  auditDays: whole(
    1,
    36_500,
    365,
    'Decisions and activity of the audit log are kept for so long. The rest still verifies.',
    { reload: 'live' },
  ),
  maxAuditRows: whole(
    1000,
    1_000_000_000,
    10_000_000,
    'Rows of the audit log about decisions (pairing, policies, principals) that are kept; some 300 bytes each. What limbs, agents and strangers do is kept beside them, and pushes none of them out.',
    { reload: 'live' },
  ),
  maxActivityRows: whole(
    1000,
    1_000_000_000,
    5_000_000,
    'Rows of the audit log about what limbs and principals do within their rights (invocations, leases, updates, tokens) that are kept; some 300 bytes each.',
    { reload: 'live' },
  ),
  attemptDays: whole(
    1,
    36_500,
    90,
    'Rows of the audit log about what was refused, and about requests to be paired, are kept for so long.',
    { reload: 'live' },
  ),
  maxAttemptRows: whole(1000, 1_000_000_000, 1_000_000, 'So many of those are kept; some 300 bytes each.', {
    reload: 'live',
  }),
})

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

const log = z.strictObject({
  level: z.enum(LOG_LEVELS).default('info').meta({
    reload: 'live',
    description: 'What is logged: this level and the graver ones.',
    env: 'LIMB_LOG_LEVEL',
  }),
  format: z
    .enum(['auto', 'json', 'pretty'])
    .default('auto')
    .meta({ description: '`auto`: for people on a terminal, JSON lines elsewhere.' }),
})

const homeAssistant = z.strictObject({
  enabled: flag(
    false,
    'Announces every limb to Home Assistant by MQTT discovery, on the embedded broker. An uplink does the same with its own `homeAssistant: true`.',
  ),
  prefix: z
    .string()
    .max(63)
    .regex(TOPIC_ROOT, { error: 'is not a topic prefix' })
    .default('homeassistant')
    .meta({
      description: "Home Assistant's discovery prefix, as it is set there.",
      allowed: 'one to four levels of letters, digits, `_` and `-`, not below the topic root',
    }),
  principal: nameSchema.default('homeassistant').meta({
    description:
      'The principal that Home Assistant signs in as. With `enabled` it may publish and subscribe everything below the prefix.',
    allowed: 'the name of a principal; role agent for buttons, operator for the switch of the pairing window',
  }),
  pairingSeconds: whole(
    10,
    LIMITS.permitSecondsMax,
    300,
    "How long the pairing window stays open when Home Assistant's switch opens it.",
  ),
})

const topicPrefix = z.string().max(63).regex(TOPIC_ROOT, { error: 'is not a topic prefix' })
const PREFIX_ALLOWED = 'one to four levels of letters, digits, `_` and `-`, not below the topic root'

const adapters = z.strictObject({
  homeAssistant: flag(
    false,
    'Takes what firmware announces of itself to Home Assistant (ESPHome, Zigbee2MQTT and many more) for its registration as a limb.',
  ),
  homeAssistantPrefix: topicPrefix.default('homeassistant').meta({
    description: 'The discovery prefix, as it is set in the firmware.',
    allowed: PREFIX_ALLOWED,
  }),
  tasmota: flag(false, 'Takes what Tasmota announces of itself for its registration as a limb.'),
  tasmotaPrefix: topicPrefix.default('tasmota/discovery').meta({
    description: 'Where Tasmota announces itself.',
    allowed: PREFIX_ALLOWED,
  }),
  maxDevicesPerLimb: whole(
    1,
    4096,
    256,
    'Devices that one session may announce behind itself, each a limb of its own; Zigbee2MQTT does.',
  ),
})

const UPLINK_URL = /^mqtts?:\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?\/?$/

function optionalText(description: string, allowed: string, more: LeafMeta = {}) {
  return z
    .string()
    .min(1)
    .max(4096)
    .refine((text) => !text.includes('\0'), { error: 'contains a NUL' })
    .optional()
    .meta({ description, allowed, ...more })
}

const dataFilter = z
  .string()
  .max(1024)
  .refine((filter) => isGrantFilter(filter) && filterCovers(DATA_BELOW_ROOT, filter), {
    error: 'is not a filter of data topics',
  })
  .meta({ allowed: `a topic filter below the root, such as \`${DATA_BELOW_ROOT}\`` })

const uplink = z.strictObject({
  name: nameSchema.meta({ description: 'Names the uplink in the log and in metrics; no two are the same.' }),
  url: z
    .string()
    .max(300)
    .regex(UPLINK_URL, { error: 'is not such a URL' })
    .refine((text) => URL.canParse(text), { error: 'is not such a URL' })
    .meta({
      description: 'The other broker.',
      allowed: '`mqtt://host:port`, or `mqtts://host:port` for TLS; no user name in it',
    }),
  allowPlaintext: flag(
    false,
    'Must be true for an `mqtt://` URL that is not on loopback: whoever is on that network can then read the password and all that is mirrored.',
  ),
  caFile: optionalText(
    "PEM file with the certificates that sign the other broker's; the system's own when absent.",
    'a path',
  ),
  username: optionalText('The account there.', 'a text'),
  password: optionalText('Its password.', 'a text; not together with `passwordFile`', { secret: true }),
  passwordFile: optionalText(
    'A file whose first line is the password. Read at each connect, so that a new password needs no restart.',
    'a path; not together with `password`',
  ),
  prefix: z.string().max(63).regex(TOPIC_ROOT, { error: 'is not a topic prefix' }).meta({
    description:
      'Stands in the place of the topic root there. It belongs to this bridge alone: retained leftovers below it are cleared.',
    allowed: 'one to four levels of letters, digits, `_` and `-`, such as `site1`',
  }),
  protocolVersion: z.literal(['auto', 4, 5]).default('auto').meta({
    description: 'The MQTT version to speak; `auto`: MQTT 5 where the other broker does, else 3.1.1.',
    allowed: '`auto`, `4` for MQTT 3.1.1, or `5`',
  }),
  qos: z
    .literal([0, 1])
    .default(1)
    .meta({ description: 'The highest QoS of what is published there.', allowed: '`0` or `1`' }),
  data: z
    .array(dataFilter)
    .max(100)
    .default([])
    .meta({
      description: 'Which `data/…` of limbs is mirrored too.',
      allowed: `a list of topic filters below the root, such as \`["${DATA_BELOW_ROOT}"]\``,
    }),
  requests: z
    .strictObject({
      principals: z
        .array(nameSchema.meta({ allowed: 'the name of a principal' }))
        .max(100)
        .default([]),
    })
    .prefault({})
    .meta({
      description:
        'Principals whose requests are taken from there, with the role each has here. The other broker says who they are: whoever it lets publish below the `request/` of a principal is believed to be that principal.',
      allowed: '`{principals: [name, …]}`',
    }),
  homeAssistant: flag(
    false,
    'Announces every limb to a Home Assistant that is connected to the other broker. Buttons and the switch work when its principal is among those of `requests`.',
  ),
  maxQueued: whole(
    100,
    1_000_000,
    10_000,
    'Messages that wait for the other broker. At the bound the oldest is dropped and counted; retained topics are made good later.',
  ),
})

const credentialFile = (what: string) =>
  optionalText(
    `A file with ${what}, read at each delivery, so that a new one needs no restart. \`%d\` at its beginning stands for the folder of systemd's credentials.`,
    'a path such as `/etc/limb-bridge/hook` or `%d/hook`',
  )

const webhook = z.strictObject({
  name: nameSchema.meta({
    description: 'Names the webhook in the log, in metrics and in `webhook test`; no two are the same.',
  }),
  url: z
    .string()
    .max(2000)
    .refine((text) => isHttpUrl(text) && new URL(text).hash === '', {
      error: 'must be an http:// or https:// URL without user name and fragment',
    })
    .optional()
    .meta({
      description:
        'Where events are sent, by POST. Of Telegram it is `https://api.telegram.org`. It is hidden wherever settings are shown, because many services put a secret into it.',
      allowed: 'an `https://` URL, or `http://` with `allowPlaintext`',
      secret: true,
    }),
  urlFile: credentialFile('the URL, in place of `url`'),
  format: z.enum(WEBHOOK_FORMATS).default('standard').meta({
    description:
      '`standard`: JSON, signed as Standard Webhooks says. `ntfy`, `slack` and `telegram`: a message for people, with a link to the console when `http.publicUrl` is set.',
  }),
  events: z
    .array(z.enum(WEBHOOK_EVENTS))
    .min(1)
    .max(WEBHOOK_EVENTS.length)
    .default([...WEBHOOK_PRESET])
    .meta({
      description:
        'The events that it carries: any that the bridge publishes over MQTT, and `limb_offline` and `limb_back`.',
      allowed: `a list of ${WEBHOOK_EVENTS.map((name) => `\`${name}\``).join(', ')}`,
    }),
  offlineSeconds: whole(
    10,
    30 * 86_400,
    600,
    'How long a limb is offline before `limb_offline` is sent; after a start of the bridge it counts from there.',
  ),
  secret: z
    .string()
    .refine((text) => isWebhookSecret(text), {
      error: 'must be `whsec_` and the base64 of 24 to 64 bytes',
    })
    .optional()
    .meta({
      description: 'The secret that signs. `standard` needs one.',
      allowed: '`whsec_` and base64; not together with `secretFile`',
      secret: true,
    }),
  secretFile: credentialFile(
    'the secret in place of `secret`. With several lines, each is a secret and each signs, so that a receiver can change to a new one',
  ),
  token: optionalText(
    'Sent as `Authorization: Bearer`; of Telegram the token of the bot.',
    'a text; not together with `tokenFile`',
    { secret: true },
  ),
  tokenFile: credentialFile('the token, in place of `token`'),
  chat: z
    .string()
    .regex(/^(-?[0-9]{1,20}|@[A-Za-z0-9_]{1,64})$/, { error: 'is no id of a chat' })
    .optional()
    .meta({ description: "Telegram's id of the chat.", allowed: 'a number as a text, or `@channel`' }),
  allowPlaintext: flag(
    false,
    'Must be true for an `http://` URL that is not on loopback: whoever is on that network can then read the events.',
  ),
  networks: z.array(network).max(100).default([]).meta({
    description:
      'Where it may be sent beside public addresses. Without an entry, nothing is sent to this machine, to private networks, or to addresses of the network itself, whatever the name in the URL leads to; `invocation.httpNetworks` counts too.',
    allowed: 'a list of addresses and networks such as `[192.168.0.0/16, "127.0.0.1"]`',
  }),
  caFile: optionalText(
    "PEM file with authorities that sign the receiver's certificate, beside those of the machine.",
    'a path',
  ),
  maxQueued: whole(
    1,
    10_000,
    1000,
    'Deliveries that are stored while the receiver does not take them. At the bound the oldest of the most frequent kind goes, and is counted.',
  ),
  keepSeconds: whole(
    60,
    30 * 86_400,
    86_400,
    'A delivery that was not taken for so long is given up and counted. That an invocation waits is given up as soon as it does not wait any more.',
  ),
})

export const configSchema = z.strictObject({
  mqtt: mqtt
    .prefault({})
    .meta({ description: 'The MQTT broker: listeners, rights and limits of each session.' }),
  tls: tls.prefault({}).meta({ description: 'MQTT over TLS, and the certificate of HTTPS.' }),
  http: http.prefault({}).meta({ description: 'Health, metrics, and MQTT over WebSocket.' }),
  control: control.prefault({}).meta({ description: 'Local administration over a Unix socket.' }),
  store: store.prefault({}).meta({ description: 'Where everything that lasts is kept.' }),
  pairing: pairing.prefault({}).meta({ description: 'Requests of new limbs.' }),
  presence: presence.prefault({}).meta({ description: 'When a limb counts as online.' }),
  policy: policy.prefault({}).meta({ description: 'How freely limbs may be used.' }),
  lead: lead.prefault({}).meta({ description: 'Which of several bridges on one database leads.' }),
  lease: lease.prefault({}).meta({ description: 'Leases of exclusive capabilities.' }),
  invocation: invocation
    .prefault({})
    .meta({ description: 'Invocations: commands that principals run on limbs.' }),
  backup: backup.prefault({}).meta({ description: 'Copies of the database.' }),
  retention: retention.prefault({}).meta({ description: 'How long the record of what happened is kept.' }),
  homeAssistant: homeAssistant.prefault({}).meta({
    description: 'Home Assistant finds the limbs by itself; home-assistant.md among the documents says how.',
  }),
  adapters: adapters.prefault({}).meta({
    description:
      'Firmware that was never made for the bridge, as limbs; devices/foreign.md among the documents says how.',
  }),
  uplinks: z.array(uplink).max(16).default([]).meta({
    description:
      'Other brokers on which the bridge mirrors `status`, `state`, `bridge/…` and chosen data; uplinks.md among the documents says how.',
    allowed: 'a list; each entry has `name`, `url`, `prefix` and what docs/configuration.md lists',
  }),
  webhooks: z.array(webhook).max(16).default([]).meta({
    reload: 'live',
    description:
      'Where events are sent over HTTP: to programs, and to the phones of people by ntfy, Slack and Telegram; webhooks.md among the documents says how.',
    allowed: 'a list; each entry has `name`, `url`, and what docs/configuration.md lists',
  }),
  log: log.prefault({}).meta({ description: 'The log, on standard output.' }),
})

/** The settings as they stand in a file, with defaults filled in. */
export type Settings = z.output<typeof configSchema>
