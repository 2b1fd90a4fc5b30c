import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** The table of sums in docs/security.md, row by row: the bound in the code, and the test that holds it. */

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const page = read('docs/security.md')
const section = page.slice(page.indexOf('### Sums'), page.indexOf('## Attacks on pairing'))
const kinds = section
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (kind|---)/.test(line))
  .map((line) => (line.split(' | ')[0] ?? '').slice(2))

/** Of each row: a file below src with words of the bound in it, and words of a test's name. */
const HELD: Readonly<Record<string, readonly [file: string, words: string, test: string]>> = {
  'bytes of who has no secret': [
    'broker/strangers.ts',
    'maxBytes()',
    'shares one budget with all others: the oldest go',
  ],
  connections: ['broker/connections.ts', 'maxConnectionsPerAddress', 'are bounded in all and per address'],
  'connections of proxies whose header is awaited': [
    'kernel/proxy-door.ts',
    'MAX_WAITING = 1000',
    'waits five seconds for a header, no longer',
  ],
  'requests to be paired': [
    'bridge/pairing/decisions.ts',
    'maxPendingBytes',
    'requests together have a bound in bytes',
  ],
  'what watchers hear of them': [
    'bridge/live/request-pace.ts',
    'BYTES_PER_SECOND = 262_144',
    'watchers hear of a request once a second',
  ],
  'deliveries to webhooks': [
    'bridge/webhooks/webhooks.ts',
    'MAX_DATA_BYTES = 65_536',
    'keeps a bounded queue',
  ],
  'answers kept for clients of MCP whose connection broke': [
    'mcp/streamable/event-window.ts',
    'MAX_BYTES_IN_ALL = 33_554_432',
    'of a principal that has 16 ends the one that was used longest ago',
  ],
  'lines of the log that nobody reads': [
    'host/log/output.ts',
    'MAX_WAITING_BYTES = 1024 * 1024',
    'a socket that nobody reads, as a stuck journal is, loses lines',
  ],
  'newest lines of the log, for `bridge/log`': [
    'host/log/log.ts',
    'RECENT_LINES = 500',
    'newest lines of the log',
  ],
  'lines of the log about connections: limits, violations, denials, handshakes': [
    'broker/peer-log.ts',
    'maxLines: 50',
    'all keys together have their lines',
  ],
  'lines and rows about requests to be paired': [
    'bridge/pairing/registration-rate-limit.ts',
    'ROWS_PER_MINUTE = 60',
    'a request that changes again and again is a row a minute',
  ],
  'refused sign-ins on record': [
    'bridge/sign-in/refusals.ts',
    'maxLines: 200',
    'have a bound for all in lines, events and rows',
  ],
  'what was tried last and not allowed, for `why`': [
    'bridge/sign-in/attempts.ts',
    'MAX_NAMES = 2000',
    'for the failed handshakes that are remembered',
  ],
  'wrong passwords that are counted': [
    'bridge/sign-in/limits.ts',
    'MAX_TALLIES = 10_000',
    'cost a bounded memory, however many names and addresses',
  ],
  'refused requests on record': [
    'bridge/live/refused-requests.ts',
    'MAX_ROWS_PER_HOUR = 120',
    'after a hundred and twenty rows in an hour all share one',
  ],
  'work of requests': ['bridge/verbs/turns.ts', 'MAX_WAITING', 'too many that wait are refused'],
  'answers that are not read': [
    'bridge/verbs/answer-room.ts',
    'MAX_UNTAKEN_BYTES = 262_144',
    'reads late is held back meanwhile, and gets them all',
  ],
  'one page of a list': [
    'store/sqlite/tables/paging.ts',
    'WINDOW_ROWS = 5000',
    'lists and pages of them too',
  ],
  'changes of a limb that are told': [
    'bridge/presence/presence-keeper.ts',
    'maxChangesPerSecond',
    'a limb that flaps is told a few times a second',
  ],
  'messages and bytes a second': [
    'broker/session-limits.ts',
    'maxMessagesPerSecond',
    'is held back by its bytes too',
  ],
  'messages for sessions that are away': [
    'broker/persistence/queues.ts',
    'maxQueuedBytes',
    'all queues together have a bound in bytes',
  ],
  'retained messages': [
    'store/sqlite/mqtt/retained.ts',
    'bytes',
    'retained bytes have a limit in all and one below a prefix',
  ],
  'passwords to be hashed': [
    'bridge/sign-in/password-checks.ts',
    'MAX_WAITING = 256',
    'gives addresses their turns, and refuses the newest',
  ],
  'idempotency keys': ['bridge/invocation/recorder.ts', 'maxKeysPerPrincipal', 'maxKeysPerPrincipal: 1'],
  'answers kept for them': [
    'bridge/invocation/log.ts',
    'maxAnswerBytes',
    'answers for idempotency keys have a bound in bytes for each principal and one for all',
  ],
  'what firmware announces of itself': [
    'bridge/adapters/collected.ts',
    'OF_ALL_CANDIDATES = 8 * 1_048_576',
    'keeps a bounded number of messages and of bytes, of each session and of all',
  ],
  'devices behind one session': [
    'bridge/adapters/foreign-firmware.ts',
    'maxDevicesPerLimb',
    'are no more than the configuration allows',
  ],
  'probes of limbs (presence `probe`)': [
    'bridge/presence/probes.ts',
    'MAX_PROBES = 64',
    'reads a bounded part of an answer',
  ],
  'names of limbs looked up': [
    'http/outbound/names.ts',
    'MAX_UNDER_WAY = 256',
    'twenty names that nobody answers for',
  ],
  'live sessions': [
    'broker/live-sessions.ts',
    'maxSessionsPerLimb',
    'of too many live sessions of one principal the oldest',
  ],
  'stored sessions': [
    'broker/persistence/sessions.ts',
    'maxPerIdentity',
    'of stored sessions an identity keeps a few',
  ],
  subscriptions: [
    'broker/subscription-limit.ts',
    'maxSubscriptions',
    'have a limit of all their sessions together',
  ],
  wills: ['broker/connect-handler.ts', 'maxWillBytes', 'a will above 4096 bytes'],
  'messages that nobody acknowledged, kept in memory': [
    'broker/unacknowledged.ts',
    'MAX_BYTES = 32 * 1024 * 1024',
    'messages of QoS 1 wait for acknowledgements beyond the window',
  ],
  'descriptions of limbs': ['protocol/limits.ts', 'descriptionBytes: 16_384', '16384'],
  tokens: ['bridge/sign-in/token-owners.ts', 'tokensPerPrincipal', 'tokens of a principal are bounded'],
  'requests over HTTP of who has not signed in': [
    'http/server.ts',
    'HTTP_CONNECTIONS = 512',
    'of HTTP connections the oldest whose request is not whole is ended too',
  ],
  'bodies of requests over HTTP and `/mcp`': [
    'http/held-bytes.ts',
    'ofPrincipal: 16 * MIB',
    'is bounded for requests that are not whole, over the API and /mcp together',
  ],
  'answers and events over HTTP and `/mcp` that are not read': [
    'http/held-bytes.ts',
    'inAll: 32 * MIB',
    'ends event streams that are not read, counts them',
  ],
  'event streams over HTTP': [
    'http/api/events.ts',
    'MAX_READERS = 100',
    'gives its place back when a client has gone',
  ],
  'requests to `/mcp`': ['http/mcp/routes.ts', 'MAX_OPEN = 300', 'of a principal that has 16 ends the one'],
  'limbs over HTTP that wait for work': ['http/api/limb-session.ts', 'MAX_WAITING = 64', 'wait=900'],
  'leases and places in queues': [
    'bridge/access/leases.ts',
    'maxPerPrincipal',
    'leases of a principal, and places in a queue',
  ],
  'invocations under way': [
    'bridge/invocation/open-invocations.ts',
    'maxPerPrincipal',
    'is bounded in number, and a full house says so',
  ],
  'invocations that wait for a limb that is away': [
    'bridge/invocation/open-invocations.ts',
    'MAX_PARAMS_BYTES = 67_108_864',
    'is bounded for each principal and for each limb, and needs the name of a limb',
  ],
  'addresses that a principal signed in from': [
    'bridge/sign-in/limits.ts',
    'MAX_KNOWN = 16',
    'cost a bounded memory',
  ],
  'presence history': ['store/sqlite/tables/history.ts', 'historyRowsPerNode', 'historyRowsPerNode + 1000'],
  'invocations on record': [
    'store/sqlite/tables/invocations.ts',
    'invocations',
    'old rows and those beyond a number go, some at a time',
  ],
  backups: ['bridge/upkeep/backups.ts', 'prune', 'the oldest go beyond a bound in bytes too'],
  'the database as a whole': [
    'store/sqlite/room.ts',
    'max_page_count',
    'a database at its bound keeps no message, answer or beginning',
  ],
  'rows of the audit log: decisions': [
    'store/sqlite/tables/audit.ts',
    'audit',
    'the audit log loses its oldest rows',
  ],
  'rows of the audit log: activity': [
    'protocol/audit-kinds.ts',
    "'token.added'",
    'the audit log loses its oldest rows',
  ],
  'rows of the audit log: attempts': [
    'protocol/audit-kinds.ts',
    "'signin.refused'",
    'the audit log loses its oldest rows',
  ],
}

test('every row of the table of sums, and nothing else, is looked up in the code', () => {
  expect(Object.keys(HELD).toSorted()).toEqual(kinds.toSorted())
})

test('the bound of every row stands in the code', () => {
  const missing = Object.entries(HELD).filter(([, [file, words]]) => !read(`src/${file}`).includes(words))
  expect(missing.map(([kind, [file, words]]) => `${kind}: ${words} in ${file}`)).toEqual([])
})

test('every row has a test', () => {
  const names = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(test|contract)\.ts$/.test(name) && !name.startsWith('docs/sums'))
    .map((name) => read(`test/${name}`))
  const missing = Object.entries(HELD).filter(
    ([, [, , words]]) => !names.some((text) => text.includes(words)),
  )
  expect(missing.map(([kind, [, , words]]) => `${kind}: ${words}`)).toEqual([])
})
