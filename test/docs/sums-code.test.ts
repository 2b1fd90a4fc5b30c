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

/** Of each row: a file below src with words of the bound in it, and the names of the tests that fail without it. */
const HELD: Readonly<Record<string, readonly [file: string, words: string, tests: readonly string[]]>> = {
  'bytes of who has no secret': [
    'broker/strangers.ts',
    'maxBytes()',
    ['shares one budget with all others: the oldest go'],
  ],
  connections: [
    'broker/connections.ts',
    'maxConnectionsPerAddress',
    ['are bounded in all and per address, an IPv6 network being one; loopback is many'],
  ],
  'connections that were ended and whose clients have not closed them yet': [
    'broker/lingering.ts',
    'LINGER_MS = 2000',
    [
      'closes two seconds later, whatever its peer does',
      'reads four mebibytes and drops them, no more',
      'costs what any stranger costs, and goes before all others when that is too much',
    ],
  ],
  'handshakes of TLS': [
    'kernel/handshake-turns.ts',
    'SLICE_MS = 8',
    [
      'handshakes that begin at the same moment have eight milliseconds of a turn, and wait in their order beyond',
      'handshakes of HTTPS that begin at the same moment begin a few in each turn',
      'a first message that never ends fails at sixteen kibibytes, and one that is not whole in time then',
    ],
  ],
  'connections of proxies whose header is awaited': [
    'kernel/proxy-door.ts',
    'MAX_WAITING = 1000',
    [
      'a thousand connections of proxies may owe their header, and the next one is closed',
      'waits five seconds for a header, no longer',
    ],
  ],
  'requests to be paired': [
    'bridge/pairing/decisions.ts',
    'maxPendingBytes',
    ['requests together have a bound in bytes, and lists and pages of them too'],
  ],
  'what watchers hear of them': [
    'bridge/live/request-pace.ts',
    'BYTES_PER_SECOND = 262_144',
    [
      'what watchers hear of all requests together is 256 KiB a second, however many there are',
      'watchers hear of a request once a second, the newest of it, however often it changes',
      'requests that change at the same moment are published in turns of the event loop, the others soon after',
    ],
  ],
  'deliveries to webhooks': [
    'bridge/webhooks/webhooks.ts',
    'MAX_DATA_BYTES = 65_536',
    [
      'keeps a bounded queue: the oldest of the most frequent kind goes, and is counted',
      'an event of 64 KiB is sent whole, and of a larger one what is short, with a mark that something is missing',
      'two thousand deliveries of one turn wait for their commit, and the others are dropped and counted',
      'events that wait for a slow store have sixteen mebibytes, and go into it in commits of a mebibyte',
    ],
  ],
  'answers kept for clients of MCP whose connection broke': [
    'mcp/streamable/event-window.ts',
    'MAX_BYTES_IN_ALL = 33_554_432',
    [
      'have a bound in number and in bytes for each session, and the oldest go',
      'have a bound in bytes for all sessions: those of the session that holds most go first',
      'sessions of MCP have a bound in all: beyond it, who has one gives up its own oldest, and others get none',
    ],
  ],
  'lines of the log that nobody reads': [
    'host/log/output.ts',
    'MAX_WAITING_BYTES = 1024 * 1024',
    ['a socket that nobody reads, as a stuck journal is, loses lines and does not hold the process'],
  ],
  'newest lines of the log, for `bridge/log`': [
    'host/log/log.ts',
    'RECENT_LINES = 500',
    ['of the newest lines a bounded number is kept, and none that is too long'],
  ],
  'lines of the log about connections: limits, violations, denials, handshakes': [
    'broker/peer-log.ts',
    'maxLines: 50',
    [
      'all keys together have their lines, however many keys there are, then one line with the count of the others',
      'strangers from many networks hide no line about a limb or a principal, also not from the same address',
    ],
  ],
  'lines and rows about requests to be paired': [
    'bridge/pairing/registration-rate-limit.ts',
    'ROWS_PER_MINUTE = 60',
    ['a request that changes again and again is a row a minute, and many requests have a bound together'],
  ],
  'refused sign-ins on record': [
    'bridge/sign-in/refusals.ts',
    'maxLines: 200',
    [
      'have a bound for all in lines, events and rows, and the others are counted',
      'hide no wrong password, and not who is shut out',
    ],
  ],
  'what was tried last and not allowed, for `why`': [
    'bridge/sign-in/attempts.ts',
    'MAX_NAMES = 2000',
    [
      'what was tried last is remembered of two thousand names and two hundred addresses, the newest, and cut',
    ],
  ],
  'wrong passwords that are counted': [
    'bridge/sign-in/limits.ts',
    'MAX_TALLIES = 10_000',
    ['cost a bounded memory, however many names and addresses'],
  ],
  'refused requests on record': [
    'bridge/live/refused-requests.ts',
    'MAX_ROWS_PER_HOUR = 120',
    [
      'cannot push decisions out of the audit log: after a hundred and twenty rows in an hour all of its own share one',
      'hide nothing of what others try: each principal has rows of its own',
      'of one invocation, again and again, are one event a minute, with a count',
    ],
  ],
  'work of requests': [
    'bridge/verbs/turns.ts',
    'MAX_WAITING',
    [
      'too many that wait are refused, and its sessions are not read for a while',
      'requests of one turn share ten milliseconds, also those that come when nobody waits any more',
      'the bytes that wait are bounded for one principal and for all, and each may have one request that waits',
    ],
  ],
  'requests under way when the bridge stops': [
    'bridge/verbs/under-way.ts',
    'FINISH_MS = 500',
    [
      'what is not stored within half a second of a stop is not stored any more, and the request is refused',
      'a stop goes on after three quarters of a second, and says so when somebody is not answered',
      'a server that closes has written the answers that were due',
    ],
  ],
  'answers that are not read': [
    'bridge/verbs/answer-room.ts',
    'MAX_UNTAKEN_BYTES = 262_144',
    [
      'a client that asks for thirty large pages at once and reads late is held back meanwhile, and gets them all',
      'answers that wait to be sent have a bound in bytes, of a principal and of all, and one of each may always wait',
      'what was done is answered with what it made, though the answers that wait have no room left',
    ],
  ],
  'acknowledgements that are not read': [
    'broker/connection.ts',
    'MAX_ACKS_BEHIND = 1000',
    [
      'may have one large answer before it, whose acknowledgement waits behind it, but not any number of them',
    ],
  ],
  'one page of a list': [
    'store/paging.ts',
    'WINDOW_ROWS = 5000',
    ['requests together have a bound in bytes, and lists and pages of them too'],
  ],
  'packets of more than 4 KiB that are not whole': [
    'broker/packet-room.ts',
    'maxBytesPerIdentity()',
    [
      'has a bound for one identity and one for all, and those that wait go in turns of identities',
      'ends who is not whole in time when others wait for that, and nobody else',
      'hold no more than their share, keep nobody else from sending, and are all taken when they go on',
    ],
  ],
  'connections that come at the same moment': [
    'kernel/accept-turns.ts',
    'LEFT_TURNS = 16',
    [
      'a crowd of connections is accepted before work has had many turns, which goes on all the same',
      'work that is mostly small leaves turns to a crowd of connections too',
    ],
  ],
  'sessions that are let in at the same moment: they waited for one password, or for one commit': [
    'broker/connect-handler.ts',
    'MAX_OPENING = 24',
    [
      'sessions that were decided about at one moment are let in in turns',
      'what clients sent right behind CONNECT is worked on in turns',
    ],
  ],
  'limbs whose time is up at the same moment: all behind an access point; changes and states of very many limbs that are due together':
    [
      'kernel/deadline-timer.ts',
      'DUE_MS = 8',
      [
        'that come at the same moment have eight milliseconds of a turn after the first, and the rest later ones',
        'changes of very many limbs that waited are published in turns, and none waits for ever',
        'states of very many limbs that are old at the same moment are published again in turns',
      ],
    ],
  'chunks that are read over MQTT': [
    'broker/read-turns.ts',
    'READING_MS = 8',
    [
      'large chunks of all connections have eight milliseconds of a turn, and wait in their order beyond',
      'who sends on while it waits is told to stop, and what it sent comes in its order',
      'a crowd of candidates keeps a limb waiting no longer than one of them does',
    ],
  ],
  'objects, lists and texts of one message that is read': [
    'protocol/limits.ts',
    'jsonParts: 25_000',
    [
      'are refused by what is in them before anything is made of it',
      'with more parts than the bridge reads at once are refused under their number, an import too',
      'ends at once when the result has more parts than the bridge reads, wherever it names the invocation',
      'JSON of a limb is shown without making values of it: a megabyte of empty lists would be a long turn',
    ],
  ],
  'frames of WebSockets': [
    'http/frame-turns.ts',
    'FRAMES_MS = 5',
    ['frames of all WebSockets have five milliseconds of a turn, and connections take turns'],
  ],
  'small pieces of what is sent': [
    'kernel/few-chunks.ts',
    'MAX_WAITING_CHUNKS = 32',
    [
      'a connection whose chunks are not read asks for no more of them, and for the next ones when they were',
      'a session that is read more slowly keeps few of the single bytes that it is sent',
      'a body that is not whole is no list of its chunks, however small they are',
      'a body %s is no list of its chunks, and is whole when it is read',
    ],
  ],
  'what sessions were sent and have not taken, or not acknowledged where no store has it': [
    'broker/unsent-bytes.ts',
    'maxBytesPerIdentity()',
    [
      'have a bound for all sessions of an identity: the one with most of them ends, others of it and of others stay',
      'have a bound for all identities: whoever has most loses a session',
      'count a large payload once, however many sessions of an identity wait for it',
      'of half of the bound let those wait that need not be sent now, one after the other when there is room',
      'end, those with most first, before all of them hold more than their bound, and others lose nothing',
      'and read without acknowledging end too, when what is kept for them until then is too much',
    ],
  ],
  'messages that are handed to very many sessions': [
    'broker/delivery-pace.ts',
    'DELIVERING_MS = 8',
    [
      'messages for very many sessions have eight milliseconds of a turn, and each session gets all of them in order',
      'of very many streams take as many turns as they need, and nobody brings more meanwhile',
      'of large messages wait for a later turn when this one has no time left, in the order of each stream',
      'nobody is read while a part is behind with what was read, and those who waited go on in their order',
      'a request whose answer would wait behind what is being told waits, and the control socket does not',
    ],
  ],
  'writes of the database in one commit': [
    'store/sqlite/group-commit.ts',
    'MAX_BATCH_BYTES = 1024 * 1024',
    [
      'a turn with very many writes is split into commits of ten thousand',
      'a batch takes no further work after twenty milliseconds, and the others keep their order',
      'a batch takes no further work after a mebibyte of payloads: their commit is what takes long',
    ],
  ],
  'retained and queued messages that are sent to who asks for them; the ends of what a limb had retained that is revoked':
    [
      'broker/broker.ts',
      'SENDING_MS = 5',
      [
        'what is retained leaves for all sessions together in five milliseconds of a turn',
        'what was queued for sessions that return leaves in the same time',
        'that nothing is retained any more of a limb that is gone is told in the same time, and not where something is anew',
        'a session that subscribes hundreds of times has one place in the line, and others their turn',
      ],
    ],
  'SUBSCRIBEs whose retained messages are still to be sent': [
    'broker/retained-line.ts',
    'MAX_WAITING_BYTES = 128 * 1024',
    [
      'a session that subscribes again and again and acknowledges nothing keeps no more of it than it has subscriptions',
    ],
  ],
  'topics of which a live message came behind a SUBSCRIBE': [
    'broker/live-meanwhile.ts',
    'MAX_TOPICS = 1000',
    ['a thousand topics are remembered, and no more'],
  ],
  'changes of a limb that are told': [
    'bridge/presence/presence-keeper.ts',
    'maxChangesPerSecond',
    ['a limb that flaps is told a few times a second, the newest wins, and it is named'],
  ],
  'messages and bytes a second': [
    'broker/session-limits.ts',
    'maxMessagesPerSecond',
    ['is held back by its bytes too'],
  ],
  'messages for sessions that are away': [
    'broker/persistence/queues.ts',
    'maxQueuedBytes',
    ['all queues together have a bound in bytes, and none is kept beyond that of the database'],
  ],
  'retained messages': [
    'store/sqlite/mqtt/retained.ts',
    'bytes',
    [
      'retained bytes have a limit in all and one below a prefix; what is not kept leaves nothing older behind',
    ],
  ],
  'passwords to be hashed': [
    'bridge/sign-in/password-checks.ts',
    'MAX_WAITING = 256',
    ['gives addresses their turns, and refuses the newest of the one that asks for most'],
  ],
  'keys of limbs that signed in, on PostgreSQL': [
    'store/postgres/key-cache.ts',
    'MAX_KEPT = 50_000',
    ['keeps so many, and lets those go first that were looked up longest ago'],
  ],
  'idempotency keys': [
    'bridge/invocation/recorder.ts',
    'maxKeysPerPrincipal',
    ['that was refused for its key keeps no place there, so that nothing is locked for it'],
  ],
  'requests that ask again, with its key, for an invocation under way': [
    'bridge/invocation/asked-again.ts',
    'MAX_OF_ALL = 1000',
    [
      '64 requests of a principal wait for invocations under way, 1000 of all, and those of sessions that are gone give way',
      'who asked again while it ran is answered in a turn of its own, from the store',
    ],
  ],
  'answers kept for them': [
    'bridge/invocation/log.ts',
    'maxAnswerBytes',
    [
      'answers for idempotency keys have a bound in bytes for each principal and one for all; the oldest go, the keys stay',
    ],
  ],
  'what firmware announces of itself': [
    'bridge/adapters/collected.ts',
    'OF_ALL_CANDIDATES = 8 * 1_048_576',
    ['keeps a bounded number of messages and of bytes, of each session and of all'],
  ],
  'reading of what firmware announces': [
    'bridge/adapters/foreign-firmware.ts',
    'SLICE_MS = 5',
    ['thousands of announcements are read in steps, each of which is one message or one device'],
  ],
  'values that foreign firmware says': [
    'bridge/adapters/value-turns.ts',
    'VALUES_PER_TURN = 64',
    [
      'a message with many values is published sixty-four in a turn, and one with a few at once',
      'limbs take turns: who has one message does not wait for a thousand of another',
      'of the messages of a topic that wait, the newest counts',
      'what waits has a bound in bytes for each limb and for all, and room is given back',
    ],
  ],
  'devices behind one session': [
    'bridge/adapters/foreign-firmware.ts',
    'maxDevicesPerLimb',
    ['are no more than the configuration allows'],
  ],
  'probes of limbs (presence `probe`)': [
    'bridge/presence/probes.ts',
    'MAX_PROBES = 64',
    ['reads a bounded part of an answer that does not end'],
  ],
  'names of limbs and webhooks looked up': [
    'http/outbound/names.ts',
    'MAX_SYSTEM = 16',
    [
      'twenty names that nobody answers for take no other with them',
      'the system is asked for sixteen names at once, and for a name that was slow not for a minute',
      'eight names that the system never finds take neither a ninth with them nor files and passwords',
    ],
  ],
  'answers of limbs that are HTTP servers': [
    'http/outbound/gathering.ts',
    'MAX_BYTES = 33_554_432',
    [
      'bodies of all answers that come have 32 MiB together: the largest ends',
      'an answer whose small chunks are more than twice the largest answer ends',
      'interim answers without end are no answer',
      'answers of all limbs are read in pieces that have ten milliseconds of a turn, each in its order',
    ],
  ],
  'sessions of a limb that newer ones ended': [
    'bridge/sign-in/takeovers.ts',
    'MAX_LIMBS = 1000',
    ['takeovers of a thousand limbs are counted, and eight addresses of each'],
  ],
  'messages that wait until they are stored': [
    'broker/limits.ts',
    'maxRouteQueue: 50_000',
    [
      'a store that never answers holds messages for its time only, and keeps their order',
      'a queue at its bound delivers without waiting, in order',
      'messages that wait for a slow store have a bound in bytes: who sends them is read later, and nobody else',
      'messages that need no store and wait behind some that do have the same bound',
      'a slow store that one sender has filled holds back nobody who has little in it',
    ],
  ],
  'messages of QoS 2 that wait for their release': [
    'broker/persistence/persistence.ts',
    'maxInflightPerSession',
    ['with more open QoS 2 messages than allowed are ended and counted'],
  ],
  'topic aliases of MQTT 5': [
    'broker/mqtt5/translator.ts',
    'MAX_ALIASES = 10',
    ['a topic alias above ten ends the connection'],
  ],
  'messages for other brokers': [
    'uplink/outbox.ts',
    'MAX_BYTES = 32 * 1024 * 1024',
    [
      'of QoS 1 that was said while the link was cut arrives, the newest as many as may wait, and the rest is counted',
      'retained messages that found no room while the other broker was slow are made good without a new connection',
    ],
  ],
  'limbs, principals and entries of the policy': [
    'store/sqlite/room.ts',
    'RESERVE_BYTES = 64 * 1024 * 1024',
    ['a database at its bound keeps no message, answer or beginning, and lets decisions and endings through'],
  ],
  'keys and widenings that are refused for a while': [
    'store/sqlite/tables/refused.ts',
    'maxPerNode',
    ['refused keys and widenings end by themselves, and keys are bounded to the newest of a node'],
  ],
  'decisions of the policy that are remembered': [
    'bridge/access/policies.ts',
    'GENERATION = 50_000',
    ['is remembered for a hundred thousand decisions, and asked of the store anew for those of longest ago'],
  ],
  'limbs that clients of MCP follow': [
    'mcp/limb-changes.ts',
    'MAX_SUBSCRIPTIONS = 1000',
    ['a client of MCP follows a thousand limbs, and no more'],
  ],
  'live sessions': [
    'broker/live-sessions.ts',
    'maxSessionsPerLimb',
    ['of too many live sessions of one principal the oldest is closed, and those of others go on'],
  ],
  'stored sessions': [
    'broker/persistence/sessions.ts',
    'maxPerIdentity',
    [
      'of stored sessions an identity keeps a few: the oldest that is away goes',
      'of the sessions of one owner those beyond its number, and beyond its subscriptions, are forgotten, the oldest first',
      'a start with smaller limits forgets stored sessions whose subscriptions are more than those, before it loads them',
    ],
  ],
  'subscriptions, those of stored sessions included': [
    'broker/frame-checks.ts',
    'MAX_FILTERS = 2000',
    [
      'have a limit of all their sessions together, which ends with the session, and a warning names it',
      'that are away count too, until they are forgotten',
      'keep nothing of what was refused',
      'a list of two thousand filters is taken, and a longer one ends the session before it is worked on',
    ],
  ],
  'subscriptions that are made and ended as sessions come and go': [
    'broker/filter-turns.ts',
    'FILTERS_MS = 5',
    [
      'subscriptions of a session that comes and goes have turns, and no message is lost or out of order meanwhile',
      'a session with thousands of subscriptions lets others have theirs between',
    ],
  ],
  wills: [
    'broker/connect-handler.ts',
    'maxWillBytes',
    [
      'a will above 4096 bytes is left out, and one of 4096 is sent',
      'is sent when its session is pushed out by newer ones, so that one identity has no more wills than sessions',
    ],
  ],
  'messages that nobody acknowledged, kept in memory': [
    'broker/unacknowledged.ts',
    'MAX_BYTES = 32 * 1024 * 1024',
    [
      'of all sessions together have a bound in bytes: the oldest of who holds most are given up, and their sessions look again',
    ],
  ],
  'descriptions of limbs': [
    'protocol/limits.ts',
    'descriptionBytes: 16_384',
    ['a description of 16 KiB is taken, and none that is a byte longer'],
  ],
  'limbs that an invocation without a `nodeId` looks at': [
    'bridge/invocation/target.ts',
    'MAX_LOOKED_AT = 1000',
    [
      'a fleet whose policy is not in memory is read no further than to the first limb that is as good as any',
      'the policy of a whole fleet is read in many turns of the event loop, on the account of who asks',
    ],
  ],
  tokens: [
    'bridge/sign-in/token-owners.ts',
    'tokensPerPrincipal',
    ['tokens of a principal are bounded, and there is room again when one is removed'],
  ],
  'requests over HTTP of who has not signed in': [
    'http/server.ts',
    'HTTP_CONNECTIONS = 512',
    [
      'of HTTP connections the oldest whose request is not whole is ended too, and none that waits for its answer',
      'when all of them are being answered the oldest goes, not the newcomer',
    ],
  ],
  'bodies of requests over HTTP and `/mcp`': [
    'http/held-bytes.ts',
    'ofPrincipal: 16 * MIB',
    ['is bounded for requests that are not whole, over the API and /mcp together, and others go on'],
  ],
  'answers and events over HTTP and `/mcp` that are not read': [
    'http/held-bytes.ts',
    'inAll: 32 * MIB',
    ['ends event streams that are not read, counts them, and names who it was'],
  ],
  'answers over HTTP to who has not signed in': [
    'http/held-bytes.ts',
    'STRANGERS_BYTES = 16 * MIB',
    [
      'that are not read have a bound together: the oldest end, whatever their size',
      'of HTTP connections the oldest that only has to read its answer is ended too',
    ],
  ],
  'requests over HTTP in one go': [
    'http/request-turns.ts',
    'PER_TURN = 8',
    [
      'of many connections that ask at the same time a few begin in each turn of the event loop',
      'packets of all connections have ten milliseconds of a turn, and wait in their order beyond',
      'connections that end at the same moment are given up a few in each turn of the event loop',
      'a packet with a hundred requests in it is not looked into, its connection is ended, and others go on',
    ],
  ],
  'event streams over HTTP': [
    'http/open-places.ts',
    'EVENT_STREAMS: PlaceBounds = { ofPrincipal: 16, inAll: 100 }',
    [
      'sixteen event streams of a principal are open, and a hundred of all; the next one is told so',
      'what is retained leaves for all event streams together in five milliseconds of a turn',
      'two thousand events, and a mebibyte of them, are kept for readers that come back',
    ],
  ],
  'requests to `/mcp`': [
    'http/open-places.ts',
    'MCP_RESPONSES: PlaceBounds = { ofPrincipal: 64, inAll: 300 }',
    [
      'sixty-four responses of a principal are open at /mcp, and three hundred of all; the next one is told so',
      'requests that come at one moment are read and answered a few in each turn of the event loop',
    ],
  ],
  'limbs over HTTP that wait for work': [
    'http/api/limb-session.ts',
    'MAX_WAITING = 64',
    [
      'sixty-four messages wait for a limb over HTTP, and the next is not taken until it has asked for one',
      'what waits for one limb over HTTP, and for all of them, has a bound in bytes',
    ],
  ],
  'leases, and invocations that wait for one, whose policy an operator has changed': [
    'bridge/access/lease-rights.ts',
    'LOOKING_MS = 5',
    [
      'after a change of the policy leases are looked at in turns of the event loop',
      'invocations that wait for their lease are looked at so too',
    ],
  ],
  'limbs, leases, approvals and invocations that change, begin or end at the same moment': [
    'bridge/live/announcer.ts',
    'TELLING_MS = 5',
    [
      'leases that end at one moment are told of in turns of the event loop, and requests wait meanwhile',
      'approvals that end at one moment are told of so too, each after its beginning',
      'limbs that change at one moment are told of so too, each once and with its newest state',
      'an event that is told at once goes behind those that are due, for who watches and for webhooks',
    ],
  ],
  'leases and places in queues': [
    'bridge/access/leases.ts',
    'maxPerPrincipal',
    ['are bounded, and there is room again when one is given back'],
  ],
  'invocations under way': [
    'bridge/invocation/open-invocations.ts',
    'maxPerPrincipal',
    ['is bounded in number, and a full house says so'],
  ],
  'invocations that wait for a limb that is away': [
    'bridge/invocation/open-invocations.ts',
    'MAX_PARAMS_BYTES = 67_108_864',
    [
      'is bounded for each principal and for each limb, and needs the name of a limb',
      'small params are kept as they are, and large ones as JSON, not as the value',
    ],
  ],
  'addresses that a principal signed in from': [
    'bridge/sign-in/limits.ts',
    'MAX_KNOWN = 16',
    ['cost a bounded memory, however many names and addresses'],
  ],
  'presence history': [
    'store/sqlite/tables/history.ts',
    'historyRowsPerNode',
    ['a limb that flaps keeps its newest changes only, and pushes nobody else out'],
  ],
  'invocations on record': [
    'store/sqlite/tables/invocations.ts',
    'invocations',
    ['old rows and those beyond a number go, some at a time, and those of nobody are not taken'],
  ],
  backups: [
    'bridge/upkeep/backups.ts',
    'prune',
    ['the oldest go beyond a bound in bytes too, and the newest stays whatever its size'],
  ],
  'the database as a whole': [
    'store/sqlite/room.ts',
    'max_page_count',
    ['a database at its bound keeps no message, answer or beginning, and lets decisions and endings through'],
  ],
  'rows that go by age or by number': [
    'store/sqlite/store.ts',
    'PRUNE_MS = 10',
    ['a step of retention ends when its time is over, whatever is to be deleted'],
  ],
  'queues of sessions that go': [
    'store/sqlite/mqtt/queue.ts',
    'ROW_BYTES = 2048',
    [
      'sessions that go with large queues go in many commits',
      'a decision that ends an identity waits for no large queue: its sessions are gone, their queues follow',
    ],
  ],
  'rows of the audit log: decisions': [
    'store/sqlite/tables/audit.ts',
    'audit',
    ['the audit log loses its oldest rows, says so each time, and still verifies'],
  ],
  'rows of the audit log: activity': [
    'protocol/audit-kinds.ts',
    "'token.added'",
    ['the audit log loses its oldest rows, says so each time, and still verifies'],
  ],
  'rows of the audit log: attempts': [
    'protocol/audit-kinds.ts',
    "'signin.refused'",
    ['the audit log loses its oldest rows, says so each time, and still verifies'],
  ],
}

test('every row of the table of sums, and nothing else, is looked up in the code', () => {
  expect(Object.keys(HELD).toSorted()).toEqual(kinds.toSorted())
})

test('the bound of every row stands in the code', () => {
  const missing = Object.entries(HELD).filter(([, [file, words]]) => !read(`src/${file}`).includes(words))
  expect(missing.map(([kind, [file, words]]) => `${kind}: ${words} in ${file}`)).toEqual([])
})

/** A name as it stands in a call of `test`, `it` or `describe`, in one of its forms. */
const NAME = /\b(?:test|it|describe)(?:\.\w+(?:\([^()]*\))?)*\(\s*(['"`])((?:\\.|(?!\1)[^\\\n])*)\1/g

test('every row has tests, which have exactly these names', () => {
  const names = new Set(
    readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(test|contract)\.ts$/.test(name) && !name.startsWith('docs/sums'))
      .flatMap((name) => [...read(`test/${name}`).matchAll(NAME)].map(([, , text]) => text)),
  )
  const missing = Object.entries(HELD).flatMap(([kind, [, , tests]]) =>
    tests.filter((name) => !names.has(name)).map((name) => `${kind}: ${name}`),
  )
  expect(missing).toEqual([])
})
