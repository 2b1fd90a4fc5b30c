import { z } from 'zod'
import { didYouMean } from '../kernel/did-you-mean.ts'
import { descriptionSchema } from './descriptions.ts'
import { fastInvoke } from './fast-invocations.ts'
import { LIMITS } from './limits.ts'
import {
  capabilitySchema,
  commandSchema,
  INVOCATION_STATES,
  LOG_LEVELS,
  nameSchema,
  ROLES,
  type Role,
  STATUSES,
} from './names.ts'
import { operatorSettingsShape } from './node-settings.ts'
import {
  anyJson,
  capabilityEntrySchema,
  capabilityListOf,
  displayNameSchema,
  levelSchema,
  printable,
  timeSchema,
} from './schemas.ts'
import { strictArgs } from './strict.ts'

/**
 * The table of verbs: what a principal can ask of the bridge. The bridge checks arguments and roles with it,
 * and the command line, its completion, the MCP tools and the AsyncAPI page are made from it. What each verb
 * answers stands in `results.ts`, its handler in `bridge/`, under the same key; the compiler keeps the three
 * in step.
 */

const listArgs = {
  limit: z
    .int()
    .min(1)
    .max(LIMITS.listMax)
    .optional()
    .describe(`how many items to return; ${LIMITS.listDefault} when absent`),
  after: z
    .string()
    .max(512)
    .optional()
    .describe('go on after the page before: the value that it gave as `next`'),
}
const nodeIdArg = nameSchema.describe('the limb')
const anyName = z.union([z.literal('*'), nameSchema])
const anyCapability = z.union([z.literal('*'), capabilitySchema])
const policyArgs = {
  principal: anyName.describe('the principal, or `*` for any'),
  nodeId: anyName.describe('the limb, or `*` for any'),
  capability: anyCapability.describe('the capability, or `*` for any'),
}
const principalArg = nameSchema.describe('the principal')
const keyArg = z
  .string()
  .min(LIMITS.keyCharsMin)
  .max(LIMITS.keyCharsMax)
  .describe(
    `the limb's key, ${LIMITS.keyCharsMin} characters or more; without it the bridge makes one and shows it once`,
  )
const passwordArg = z
  .string()
  .min(LIMITS.passwordCharsMin)
  .max(LIMITS.passwordCharsMax)
  .describe(
    `at least ${LIMITS.passwordCharsMin} characters; without it the bridge makes one and shows it once`,
  )

const waitArg = z.int().min(0).max(LIMITS.invokeSecondsMax)
const ttlArg = z
  .int()
  .min(1)
  .max(LIMITS.leaseSecondsMax)
  .optional()
  .describe('seconds that the lease lasts unless you renew it; `lease.ttlSeconds` when absent')
const leaseIdArg = z.string().max(64).describe('the lease')
const invocationIdArg = z.string().max(64).describe('the invocation')
const reasonArg = printable(LIMITS.reasonChars).optional().describe('why; the audit log keeps it')
const timeArg = z.iso.datetime({ offset: true })
const orderArg = z
  .enum(['newest', 'oldest'])
  .optional()
  .describe('which end to start at; `newest` when absent')

const provisionArgs = {
  nodeId: nodeIdArg,
  displayName: displayNameSchema.optional().describe('the nodeId when absent'),
  platform: printable(LIMITS.platformChars).optional().describe('`unknown` when absent'),
  capabilities: capabilityListOf(strictArgs(capabilityEntrySchema.shape))
    .optional()
    .describe('the capabilities that it may offer; none when absent'),
  apiKey: keyArg.optional(),
  ...operatorSettingsShape,
}

export interface VerbDefinition {
  readonly role: Role
  readonly summary: string
  readonly args: z.ZodObject
  /** The arguments that may stand alone on a command line, in this order: `limb-bridge node get cam1`. */
  readonly positional?: readonly string[]
  /** Is true if the response may hold a secret that is shown once. */
  readonly returnsSecret?: boolean
  /**
   * May take as long as a limb or an operator takes. The PUBACK of its request says only that it was received;
   * what was decided is in the response.
   */
  readonly long?: boolean
  /** The common form of the arguments, checked without the schema; undefined for any other form. */
  readonly fast?: (body: unknown) => object | undefined
}

function verb<T extends z.ZodRawShape>(
  role: Role,
  summary: string,
  shape: T,
  more: Pick<VerbDefinition, 'positional' | 'returnsSecret' | 'long' | 'fast'> = {},
) {
  return { role, summary, args: strictArgs(shape), ...more }
}

export const VERBS = {
  'node/list': verb('viewer', 'List the approved limbs with their state.', {
    ...listArgs,
    status: z.enum(STATUSES).optional().describe('only limbs with this status'),
    capability: capabilitySchema.optional().describe('only limbs that offer this capability'),
    available: z
      .boolean()
      .optional()
      .describe(
        'only limbs that you can use now: not offline, and with the capability at hand; `false`: only the others',
      ),
  }),
  'node/get': verb('viewer', 'Show one limb.', { nodeId: nodeIdArg }, { positional: ['nodeId'] }),
  'node/why': verb(
    'operator',
    'Say why a device does not connect, or what it lacks, and what to do next. The name may be one that nobody has.',
    { nodeId: nodeIdArg },
    { positional: ['nodeId'] },
  ),
  'node/history': verb(
    'viewer',
    'Show when a limb came and went, the newest change first, and its uptime.',
    {
      nodeId: nodeIdArg,
      since: timeSchema
        .optional()
        .describe('only changes from this time on; of the last 30 days when absent'),
      ...listArgs,
    },
    { positional: ['nodeId'] },
  ),
  'node/rename': verb(
    'operator',
    'Give a limb a display name. The limb cannot change it.',
    { nodeId: nodeIdArg, displayName: displayNameSchema.describe('the new name') },
    { positional: ['nodeId', 'displayName'] },
  ),
  'node/revoke': verb(
    'operator',
    'End the pairing of a limb. The bridge tells the limb, ends its session and refuses its key.',
    { nodeId: nodeIdArg },
    { positional: ['nodeId'] },
  ),
  'node/rotate-key': verb(
    'operator',
    'Make a new key for a limb and send it on its live session. The old key ends when the limb first uses the new one.',
    {
      nodeId: nodeIdArg,
      immediate: z
        .boolean()
        .optional()
        .describe('end the old key and the live session at once: for a stolen key'),
    },
    { positional: ['nodeId'], returnsSecret: true },
  ),
  'node/set': verb(
    'operator',
    'Set how the bridge watches the presence of a limb, and where the limb is. This wins over what the limb asks for.',
    {
      nodeId: nodeIdArg,
      presence: operatorSettingsShape.presence
        .nullable()
        .describe('what counts as a sign of life; null: as the limb asks'),
      heartbeatSeconds: operatorSettingsShape.heartbeatSeconds
        .nullable()
        .describe('seconds between two heartbeats; null: as the limb asks'),
      timeoutSeconds: operatorSettingsShape.timeoutSeconds
        .nullable()
        .describe(
          'seconds without a sign of life until it is offline; null: as the limb asks, or three heartbeats',
        ),
      area: operatorSettingsShape.area.nullable().describe('the room it is in; null: as the limb says'),
    },
    { positional: ['nodeId'] },
  ),
  'node/describe': verb(
    'operator',
    'Describe what a limb can do, where its firmware does not. Your words replace those of the limb, command by command and property by property.',
    {
      nodeId: nodeIdArg,
      description: descriptionSchema.nullable().describe('your description; null: only what the limb says'),
    },
    { positional: ['nodeId'] },
  ),
  'node/thing': verb(
    'viewer',
    'Show a limb as a W3C Thing Description 1.1.',
    { nodeId: nodeIdArg },
    { positional: ['nodeId'] },
  ),
  'node/provision': verb('operator', 'Approve a limb before it connects for the first time.', provisionArgs, {
    positional: ['nodeId'],
    returnsSecret: true,
  }),
  'node/import': verb(
    'operator',
    'Provision many limbs, those of one request in one transaction.',
    {
      nodes: z
        .array(strictArgs(provisionArgs))
        .min(1)
        .max(LIMITS.importNodes)
        .describe('one object a limb, as for node/provision'),
    },
    { returnsSecret: true },
  ),

  'pairing/list': verb(
    'viewer',
    'List the pairing requests that wait for an operator, or the keys and widenings that are refused.',
    {
      ...listArgs,
      state: z
        .enum(['pending', 'refused'])
        .optional()
        .describe(
          '`refused`: keys and widenings that were rejected or revoked (needs the role operator); `pending` when absent',
        ),
    },
  ),
  'pairing/approve': verb(
    'operator',
    'Approve a pairing request. First compare its code with the code that the device shows.',
    {
      requestId: z.string().max(64).describe('the request'),
      revision: z
        .int()
        .optional()
        .describe(
          'the revision that you looked at; if the request has changed since, the answer is a conflict',
        ),
      code: z
        .string()
        .max(32)
        .optional()
        .describe(
          'the code that the device shows, or `none` for a request without one; if it is not the code of the request, the answer is a conflict',
        ),
      displayName: displayNameSchema
        .optional()
        .describe('a display name that the limb cannot change, as `node/rename` gives'),
      area: displayNameSchema.optional().describe('the room that it is in, as `node/set` gives'),
      levels: z
        .record(capabilitySchema, levelSchema)
        .optional()
        .describe('stricter levels than the request asks for, by capability'),
    },
    { positional: ['requestId'] },
  ),
  'pairing/reject': verb(
    'operator',
    'Reject a pairing request. Its key may not connect for a day, unless you forgive the limb.',
    { requestId: z.string().max(64).describe('the request') },
    { positional: ['requestId'] },
  ),
  'pairing/forgive': verb(
    'operator',
    'Forgive a limb: its keys that were rejected or revoked may connect and ask again.',
    { nodeId: nodeIdArg },
    { positional: ['nodeId'] },
  ),
  'pairing/permit': verb(
    'operator',
    'Open the pairing window: for a while the bridge approves new requests by itself, unless they are in conflict.',
    {
      seconds: z
        .int()
        .min(0)
        .max(LIMITS.permitSecondsMax)
        .describe('how long it stays open, at most an hour; 0 closes it'),
      max: z
        .int()
        .min(1)
        .max(LIMITS.permitNodesMax)
        .optional()
        .describe('close the window after this many approvals'),
      nodeId: nodeIdArg.optional().describe('approve this limb only'),
      waiting: z
        .boolean()
        .optional()
        .describe('also approve requests that wait already, the oldest first; without it only new ones'),
    },
    { positional: ['seconds'] },
  ),

  'policy/list': verb('viewer', 'List the policies.', {
    ...listArgs,
    principal: anyName.optional().describe('only those that name this principal'),
    nodeId: anyName.optional().describe('only those that name this limb'),
  }),
  'policy/set': verb(
    'operator',
    'Set how freely a principal may use a capability of a limb. `*` stands for any.',
    { ...policyArgs, level: levelSchema.describe('how freely the principal may use it') },
    { positional: ['principal', 'nodeId', 'capability', 'level'] },
  ),
  'policy/delete': verb('operator', 'Delete a policy.', policyArgs, {
    positional: ['principal', 'nodeId', 'capability'],
  }),
  'policy/explain': verb(
    'viewer',
    'Say which level holds for a principal, a limb and a capability, and which policy decides. Without a limb or capability: list all that the principal can use.',
    {
      principal: principalArg,
      nodeId: nodeIdArg
        .optional()
        .describe('the limb; without it every limb that the principal can still use'),
      capability: capabilitySchema
        .optional()
        .describe('the capability; without it every one that the principal can still use'),
      ...listArgs,
    },
    { positional: ['principal', 'nodeId', 'capability'] },
  ),

  invoke: verb(
    'agent',
    'Run a command on a limb, as far as the policy allows, and show its result.',
    {
      nodeId: nodeIdArg
        .optional()
        .describe('the limb; without it the bridge picks one that has `capability`'),
      capability: capabilitySchema
        .optional()
        .describe('the capability of the command; without a limb the bridge picks an online one that has it'),
      command: commandSchema.describe('the command; it must be an approved one of the limb'),
      params: anyJson().optional().describe('the parameters of the command; {} when absent'),
      timeoutSeconds: z
        .int()
        .min(1)
        .max(LIMITS.invokeSecondsMax)
        .optional()
        .describe(
          'seconds that the limb may take; when absent, what the description of the command says, else `invocation.timeoutSeconds`',
        ),
      waitSeconds: waitArg
        .optional()
        .describe('seconds to wait in the queue while somebody else holds the lease; 0 when absent'),
      offlineWaitSeconds: z
        .int()
        .min(0)
        .max(LIMITS.offlineWaitSecondsMax)
        .optional()
        .describe(
          'seconds to wait for a limb that is offline or asleep, up to a week; it is sent on the next visit of the limb. With `idempotencyKey` also over a restart of the bridge. 0 when absent',
        ),
      noCheck: z
        .boolean()
        .optional()
        .describe(
          'send `params` even if they do not fit the description of the command (needs the role operator)',
        ),
      idempotencyKey: z
        .string()
        .min(1)
        .max(LIMITS.idempotencyKeyChars)
        .optional()
        .describe(
          'a text of your choice. If you use it again within 24 hours, you get the first answer, and nothing runs twice',
        ),
    },
    { positional: ['command', 'nodeId'], long: true, fast: fastInvoke },
  ),
  'invocation/list': verb('viewer', 'List the invocations: those under way and those that have ended.', {
    ...listArgs,
    order: orderArg,
    state: z.enum(INVOCATION_STATES).optional().describe('only invocations in this state'),
    principal: nameSchema.optional().describe('only invocations of this principal'),
    nodeId: nodeIdArg.optional().describe('only invocations of this limb'),
  }),
  'invocation/get': verb(
    'viewer',
    'Show one invocation. While it waits for an operator you see its whole `params`.',
    { invocationId: invocationIdArg },
    { positional: ['invocationId'] },
  ),
  'invocation/approve': verb(
    'operator',
    'Let a gated invocation run, once.',
    {
      invocationId: invocationIdArg,
      paramsHash: z
        .string()
        .max(64)
        .optional()
        .describe('the hash of the params that you looked at; if they are others, the answer is a conflict'),
      reason: reasonArg,
    },
    { positional: ['invocationId'] },
  ),
  'invocation/deny': verb(
    'operator',
    'Refuse a gated invocation.',
    { invocationId: invocationIdArg, reason: reasonArg },
    { positional: ['invocationId'] },
  ),

  'invocation/cancel': verb(
    'agent',
    'Take back an invocation of yours that still waits for a lease or an operator.',
    { invocationId: invocationIdArg, reason: reasonArg },
    { positional: ['invocationId'] },
  ),

  'lease/acquire': verb(
    'agent',
    'Take a capability of a limb for yourself, for a time.',
    {
      nodeId: nodeIdArg,
      capability: capabilitySchema.describe('the capability'),
      ttlSeconds: ttlArg,
      waitSeconds: waitArg
        .optional()
        .describe('seconds to wait in the queue while somebody else holds it; 0 when absent'),
    },
    { positional: ['nodeId', 'capability'], long: true },
  ),
  'lease/renew': verb(
    'agent',
    'Keep your lease for longer.',
    { leaseId: leaseIdArg, ttlSeconds: ttlArg },
    { positional: ['leaseId'] },
  ),
  'lease/release': verb(
    'agent',
    "Give your lease back. An operator may end anybody's lease.",
    { leaseId: leaseIdArg },
    { positional: ['leaseId'] },
  ),
  'lease/list': verb('viewer', 'List the leases.', {
    ...listArgs,
    principal: nameSchema.optional().describe('only leases of this principal'),
    nodeId: nodeIdArg.optional().describe('only leases of this limb'),
  }),

  'audit/list': verb('operator', 'List the audit log: who did what, to which limb, when, and how it ended.', {
    ...listArgs,
    order: orderArg,
    actor: z.string().max(255).optional().describe('only entries of this principal, limb or address'),
    nodeId: nodeIdArg.optional().describe('only entries about this limb'),
    kind: z
      .string()
      .max(64)
      .optional()
      .describe('only entries of this kind; `lease.`, with a dot at the end, means all kinds that begin so'),
    since: timeArg.optional().describe('only entries from this time on'),
    until: timeArg.optional().describe('only entries before this time'),
  }),
  'audit/verify': verb(
    'operator',
    'Check the hash chain of the audit log. If you kept the number and hash of a row, also check that this row is still there.',
    {
      seq: z.int().min(1).optional().describe('the number of the row that you kept'),
      hash: z
        .string()
        .regex(/^[0-9a-fA-F]{64}$/, { error: 'must be 64 hexadecimal digits' })
        .optional()
        .describe('the hash of that row, as audit/verify, audit/list or the log of the bridge showed it'),
    },
  ),

  'principal/list': verb('admin', 'List the principals.', listArgs),
  'principal/add': verb(
    'admin',
    'Add a person or a program.',
    {
      name: nameSchema.describe('the user name that it signs in with'),
      role: z.enum(ROLES).describe('what it may do; each role includes those before it'),
      password: passwordArg.optional(),
    },
    { positional: ['name', 'role'], returnsSecret: true },
  ),
  'principal/set-password': verb(
    'admin',
    'Give a principal a new password. Its sessions end.',
    { name: principalArg, password: passwordArg.optional() },
    { positional: ['name'], returnsSecret: true },
  ),
  'principal/set-role': verb(
    'admin',
    'Give a principal another role. Its policies stay, its sessions end.',
    {
      name: principalArg,
      role: z.enum(ROLES).describe('what it may do from now on; each role includes those before it'),
    },
    { positional: ['name', 'role'] },
  ),
  'principal/remove': verb(
    'admin',
    'Remove a principal, its policies and its sessions.',
    { name: principalArg },
    { positional: ['name'] },
  ),

  'token/add': verb(
    'viewer',
    'Make a token. A program signs in with it as you; an admin can make one for another principal.',
    {
      name: printable(LIMITS.tokenNameChars).describe('a name that says what the token is for'),
      principal: nameSchema.optional().describe('the principal that the token signs in as; you when absent'),
      role: z
        .enum(ROLES)
        .optional()
        .describe('the highest role of the token; the role of the principal when absent'),
      expiresInDays: z
        .int()
        .min(1)
        .max(LIMITS.tokenDaysMax)
        .optional()
        .describe('days until the token ends; without it the token holds until you remove it'),
    },
    { positional: ['name'], returnsSecret: true },
  ),
  'token/list': verb('viewer', 'List your tokens. An admin sees the tokens of all.', {
    ...listArgs,
    principal: nameSchema.optional().describe('only tokens of this principal'),
  }),
  'token/remove': verb(
    'viewer',
    'Remove a token of yours. Its sessions end. An admin may remove any token.',
    { tokenId: z.string().max(64).describe('the token') },
    { positional: ['tokenId'] },
  ),

  'session/list': verb(
    'operator',
    'List the MQTT sessions of limbs and principals: the live ones, and those that the bridge keeps until their client returns.',
    { ...listArgs, name: nameSchema.optional().describe('only those of this limb or principal') },
  ),
  'session/forget': verb(
    'operator',
    'End a session and delete what the bridge keeps of it: its subscriptions and the messages that wait for it.',
    {
      name: nameSchema.describe('the limb or principal whose session it is'),
      clientId: z.string().max(256).describe('its client id'),
    },
    { positional: ['name', 'clientId'] },
  ),

  'bridge/health': verb(
    'viewer',
    'Say whether the bridge is ready, or why not, and what waits for a person to decide.',
    {},
  ),

  'bridge/doctor': verb(
    'admin',
    'Check the machine of the bridge while it runs: disk, clock, certificates, backups.',
    {},
  ),
  'bridge/log': verb('admin', 'Show the newest lines of the log, the newest first; a restart forgets them.', {
    nodeId: nodeIdArg.optional().describe('only lines about this limb'),
    level: z.enum(LOG_LEVELS).optional().describe('only lines of this level and above'),
    limit: listArgs.limit,
  }),

  'webhook/list': verb(
    'operator',
    'List the webhooks: what each carries, how many deliveries wait, and how the last ones went.',
    {},
  ),
  'webhook/test': verb(
    'admin',
    'Send a message through a webhook now, and say how it went.',
    { name: nameSchema.describe('the webhook, as the configuration names it') },
    { positional: ['name'], long: true },
  ),

  'backup/list': verb('admin', 'List the backups that are there, the newest first.', {}),
  'backup/create': verb(
    'admin',
    'Make a backup of the database and check it. The bridge works on meanwhile.',
    {},
  ),
} as const satisfies Record<string, VerbDefinition>

export type VerbName = keyof typeof VERBS
export type VerbArgs<V extends VerbName> = z.output<(typeof VERBS)[V]['args']>

export function isVerb(text: string): text is VerbName {
  return Object.hasOwn(VERBS, text)
}

/** Says that there is no such verb, and which one may be meant; `otherwise` says where to look when none is near. */
export function noVerb(verb: string, otherwise: string): string {
  const meant = didYouMean(verb, Object.keys(VERBS))
  const hint = meant === undefined ? otherwise : `did you mean ${meant}?`
  return `there is no verb ${JSON.stringify(verb.slice(0, 64))}; ${hint}`
}

/** Verbs whose requests are acknowledged before they are decided. */
export const LONG_VERBS: readonly VerbName[] = (Object.keys(VERBS) as VerbName[]).filter(
  (name) => (VERBS[name] as VerbDefinition).long === true,
)
