import { z } from 'zod'
import { descriptionSchema } from './descriptions.ts'
import { fastInvoke } from './fast-invocations.ts'
import { LIMITS } from './limits.ts'
import {
  capabilitySchema,
  commandSchema,
  INVOCATION_STATES,
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
    .describe(`items to return, ${LIMITS.listDefault} unless told`),
  after: z.string().max(512).optional().describe('the `next` of the page before'),
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
  .describe(`the limb's key, ${LIMITS.keyCharsMin} characters or more; made and told once when absent`)
const passwordArg = z
  .string()
  .min(LIMITS.passwordCharsMin)
  .max(LIMITS.passwordCharsMax)
  .describe(`at least ${LIMITS.passwordCharsMin} characters; made and told once when absent`)

const waitArg = z.int().min(0).max(LIMITS.invokeSecondsMax)
const ttlArg = z
  .int()
  .min(1)
  .max(LIMITS.leaseSecondsMax)
  .optional()
  .describe('how long the lease lasts unless it is renewed; `lease.ttlSeconds` when absent')
const leaseIdArg = z.string().max(64).describe('the lease')
const invocationIdArg = z.string().max(64).describe('the invocation')
const reasonArg = printable(LIMITS.reasonChars).optional().describe('why; kept in the audit log')
const timeArg = z.iso.datetime({ offset: true })
const orderArg = z
  .enum(['newest', 'oldest'])
  .optional()
  .describe('which end to start at, `newest` unless told')

const provisionArgs = {
  nodeId: nodeIdArg,
  displayName: displayNameSchema.optional().describe('the nodeId when absent'),
  platform: printable(LIMITS.platformChars).optional().describe('`unknown` when absent'),
  capabilities: capabilityListOf(strictArgs(capabilityEntrySchema.shape))
    .optional()
    .describe('what it may offer; none when absent'),
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
  readonly plain?: (body: unknown) => object | undefined
}

function verb<T extends z.ZodRawShape>(
  role: Role,
  summary: string,
  shape: T,
  more: Pick<VerbDefinition, 'positional' | 'returnsSecret' | 'long' | 'plain'> = {},
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
      .describe('only limbs that are not offline and have the capability at hand; `false`: only the others'),
  }),
  'node/get': verb('viewer', 'Show one limb.', { nodeId: nodeIdArg }, { positional: ['nodeId'] }),
  'node/why': verb(
    'operator',
    'Say why a device does not connect, or what it lacks, and what to do next; also for a name that nobody has.',
    { nodeId: nodeIdArg },
    { positional: ['nodeId'] },
  ),
  'node/history': verb(
    'viewer',
    'Tell when a limb came and went, the newest change first, and its uptime.',
    {
      nodeId: nodeIdArg,
      since: timeSchema.optional().describe('from this time on; the last 30 days when absent'),
      ...listArgs,
    },
    { positional: ['nodeId'] },
  ),
  'node/rename': verb(
    'operator',
    'Give a limb a name that outlives its own.',
    { nodeId: nodeIdArg, displayName: displayNameSchema.describe('the name') },
    { positional: ['nodeId', 'displayName'] },
  ),
  'node/revoke': verb(
    'operator',
    'End a pairing: the limb is told, its session ends, its key is refused.',
    { nodeId: nodeIdArg },
    { positional: ['nodeId'] },
  ),
  'node/rotate-key': verb(
    'operator',
    'Make a new key for a limb; it is told on its live session, and the old key ends when the new one is first used.',
    {
      nodeId: nodeIdArg,
      immediate: z
        .boolean()
        .optional()
        .describe('end the old key and the live session at once (a stolen key)'),
    },
    { positional: ['nodeId'], returnsSecret: true },
  ),
  'node/set': verb(
    'operator',
    'Set how the presence of a limb is kept, and where it is; it wins over what the limb asks for.',
    {
      nodeId: nodeIdArg,
      presence: operatorSettingsShape.presence
        .nullable()
        .describe('what a sign of life is; null: as the limb asks'),
      heartbeatSeconds: operatorSettingsShape.heartbeatSeconds
        .nullable()
        .describe('how often it is to be heard; null: as the limb asks'),
      timeoutSeconds: operatorSettingsShape.timeoutSeconds
        .nullable()
        .describe(
          'how long after a sign of life it goes offline; null: as the limb asks, or three heartbeats',
        ),
      area: operatorSettingsShape.area.nullable().describe('the room it is in; null: as the limb says'),
    },
    { positional: ['nodeId'] },
  ),
  'node/describe': verb(
    'operator',
    'Say what a limb can do where its firmware does not; it wins over what the limb says, by the names of commands and properties.',
    {
      nodeId: nodeIdArg,
      description: descriptionSchema.nullable().describe('the words; null: only those of the limb'),
    },
    { positional: ['nodeId'] },
  ),
  'node/thing': verb(
    'viewer',
    'Show a limb as a W3C Thing Description 1.1.',
    { nodeId: nodeIdArg },
    { positional: ['nodeId'] },
  ),
  'node/provision': verb('operator', 'Approve a limb before it ever connects.', provisionArgs, {
    positional: ['nodeId'],
    returnsSecret: true,
  }),
  'node/import': verb(
    'operator',
    'Provision many limbs in one transaction.',
    {
      nodes: z
        .array(strictArgs(provisionArgs))
        .min(1)
        .max(LIMITS.importNodes)
        .describe('one object a limb, as for node/provision'),
    },
    { returnsSecret: true },
  ),

  'pairing/list': verb('viewer', 'List the requests that wait for an operator, or what is refused.', {
    ...listArgs,
    state: z
      .enum(['pending', 'refused'])
      .optional()
      .describe(
        '`refused`: keys and widenings that were rejected or revoked, for operators; `pending` when absent',
      ),
  }),
  'pairing/approve': verb(
    'operator',
    'Approve a request; compare its code with the one the device shows.',
    {
      requestId: z.string().max(64).describe('the request'),
      revision: z.int().optional().describe('what you looked at; a request that changed since is a conflict'),
      code: z
        .string()
        .max(32)
        .optional()
        .describe(
          'the code that the device shows, `none` for a request without one; another than its code is a conflict',
        ),
      displayName: displayNameSchema
        .optional()
        .describe('a name that outlives its own, as `node/rename` gives'),
      area: displayNameSchema.optional().describe('the room it is in, as `node/set` says'),
      levels: z
        .record(capabilitySchema, levelSchema)
        .optional()
        .describe('levels of capabilities that are stricter than what it asks for'),
    },
    { positional: ['requestId'] },
  ),
  'pairing/reject': verb(
    'operator',
    'Reject a request; its key may not connect for a day, unless it is forgiven.',
    { requestId: z.string().max(64).describe('the request') },
    { positional: ['requestId'] },
  ),
  'pairing/forgive': verb(
    'operator',
    'Lift every refusal of a limb: keys that were rejected or revoked may connect and ask again.',
    { nodeId: nodeIdArg },
    { positional: ['nodeId'] },
  ),
  'pairing/permit': verb(
    'operator',
    'Open the pairing window: new, conflict-free requests are approved by themselves.',
    {
      seconds: z.int().min(0).max(LIMITS.permitSecondsMax).describe('how long, at most an hour; 0 closes it'),
      max: z.int().min(1).max(LIMITS.permitNodesMax).optional().describe('close after so many approvals'),
      nodeId: nodeIdArg.optional().describe('for this nodeId only'),
      waiting: z
        .boolean()
        .optional()
        .describe('approve those too that wait already, the oldest first; only those that come when absent'),
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
    'Set how freely a principal may use a capability of a limb; `*` stands for any.',
    { ...policyArgs, level: levelSchema.describe('how freely') },
    { positional: ['principal', 'nodeId', 'capability', 'level'] },
  ),
  'policy/delete': verb('operator', 'Delete a policy.', policyArgs, {
    positional: ['principal', 'nodeId', 'capability'],
  }),
  'policy/explain': verb(
    'viewer',
    'Say which level holds for a principal, a limb and a capability, and which entry decides; or list what is not denied.',
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
    'Run a command on a limb and answer with its result, under the policy.',
    {
      nodeId: nodeIdArg.optional().describe('the limb; without it `capability` selects one'),
      capability: capabilitySchema
        .optional()
        .describe('what the command belongs to; without nodeId an online limb that has it is selected'),
      command: commandSchema.describe('one of the approved commands of the limb'),
      params: anyJson().optional().describe('what the command wants; {} when absent'),
      timeoutSeconds: z
        .int()
        .min(1)
        .max(LIMITS.invokeSecondsMax)
        .optional()
        .describe('how long the limb may take; `invocation.timeoutSeconds` when absent'),
      waitSeconds: waitArg
        .optional()
        .describe('how long to queue for a lease that another one holds; 0 when absent'),
      noCheck: z
        .boolean()
        .optional()
        .describe('for operators: send params that do not follow the description of the command'),
      idempotencyKey: z
        .string()
        .min(1)
        .max(LIMITS.idempotencyKeyChars)
        .optional()
        .describe('the same key within 24 hours gives the first answer and runs nothing again'),
    },
    { positional: ['command', 'nodeId'], long: true, plain: fastInvoke },
  ),
  'invocation/list': verb('viewer', 'List the invocations, under way and ended.', {
    ...listArgs,
    order: orderArg,
    state: z.enum(INVOCATION_STATES).optional().describe('only invocations in this state'),
    principal: nameSchema.optional().describe('only invocations of this principal'),
    nodeId: nodeIdArg.optional().describe('only invocations to this limb'),
  }),
  'invocation/get': verb(
    'viewer',
    'Show one invocation, with its whole params while it waits for an operator.',
    { invocationId: invocationIdArg },
    { positional: ['invocationId'] },
  ),
  'invocation/approve': verb(
    'operator',
    'Let a gated invocation run, once.',
    {
      invocationId: invocationIdArg,
      paramsHash: z.string().max(64).optional().describe('what you looked at; other params are a conflict'),
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
    'Take back an invocation of yours that has not been sent: one that waits for a lease or an operator.',
    { invocationId: invocationIdArg, reason: reasonArg },
    { positional: ['invocationId'] },
  ),

  'lease/acquire': verb(
    'agent',
    'Take a capability of a limb for yourself.',
    {
      nodeId: nodeIdArg,
      capability: capabilitySchema.describe('the capability'),
      ttlSeconds: ttlArg,
      waitSeconds: waitArg.optional().describe('how long to queue when another one holds it; 0 when absent'),
    },
    { positional: ['nodeId', 'capability'], long: true },
  ),
  'lease/renew': verb(
    'agent',
    'Keep a lease of yours for longer.',
    { leaseId: leaseIdArg, ttlSeconds: ttlArg },
    { positional: ['leaseId'] },
  ),
  'lease/release': verb(
    'agent',
    'Give a lease of yours back; an operator may end that of another.',
    { leaseId: leaseIdArg },
    { positional: ['leaseId'] },
  ),
  'lease/list': verb('viewer', 'List the leases.', {
    ...listArgs,
    principal: nameSchema.optional().describe('only leases of this principal'),
    nodeId: nodeIdArg.optional().describe('only leases of this limb'),
  }),

  'audit/list': verb('operator', 'List what was decided: who, what, on which limb, when, how it ended.', {
    ...listArgs,
    order: orderArg,
    actor: z.string().max(255).optional().describe('only what this principal, limb or address did'),
    nodeId: nodeIdArg.optional().describe('only what concerns this limb'),
    kind: z
      .string()
      .max(64)
      .optional()
      .describe('only this kind; a name with a dot at its end, such as `lease.`, takes all that begin so'),
    since: timeArg.optional().describe('from this time on'),
    until: timeArg.optional().describe('before this time'),
  }),
  'audit/verify': verb(
    'operator',
    'Recompute the hash chain of the audit log, and look for a row that you kept the hash of.',
    {
      seq: z.int().min(1).optional().describe('the number of that row'),
      hash: z
        .string()
        .regex(/^[0-9a-fA-F]{64}$/, { error: 'must be 64 hexadecimal digits' })
        .optional()
        .describe('its hash, as audit/verify, audit/list or the log of the bridge told it'),
    },
  ),

  'principal/list': verb('admin', 'List the principals.', listArgs),
  'principal/add': verb(
    'admin',
    'Add a person or program.',
    {
      name: nameSchema.describe('how it signs in'),
      role: z.enum(ROLES).describe('what it may do; each role includes those before it'),
      password: passwordArg.optional(),
    },
    { positional: ['name', 'role'], returnsSecret: true },
  ),
  'principal/set-password': verb(
    'admin',
    'Give a principal a new password; its sessions end.',
    { name: principalArg, password: passwordArg.optional() },
    { positional: ['name'], returnsSecret: true },
  ),
  'principal/set-role': verb(
    'admin',
    'Give a principal another role; its policies stay, its sessions end.',
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
    'Make a token, with which a program signs in as you, or (an admin) as another principal.',
    {
      name: printable(LIMITS.tokenNameChars).describe('what it is for'),
      principal: nameSchema.optional().describe('whose it is; yours when absent'),
      role: z
        .enum(ROLES)
        .optional()
        .describe('what it may do at most; the role of the principal when absent'),
      expiresInDays: z
        .int()
        .min(1)
        .max(LIMITS.tokenDaysMax)
        .optional()
        .describe('how long it holds; until it is removed when absent'),
    },
    { positional: ['name'], returnsSecret: true },
  ),
  'token/list': verb('viewer', 'List your tokens; an admin sees those of all.', {
    ...listArgs,
    principal: nameSchema.optional().describe('only those of this principal'),
  }),
  'token/remove': verb(
    'viewer',
    'Remove a token of yours; its sessions end. An admin removes any.',
    { tokenId: z.string().max(64).describe('the token') },
    { positional: ['tokenId'] },
  ),

  'session/list': verb(
    'operator',
    'List the MQTT sessions of limbs and principals: those that are live, and those that are kept for when they return.',
    { ...listArgs, name: nameSchema.optional().describe('only those of this limb or principal') },
  ),
  'session/forget': verb(
    'operator',
    'End a session and forget what is kept of it: its subscriptions and the messages that wait for it.',
    {
      name: nameSchema.describe('the limb or principal whose session it is'),
      clientId: z.string().max(256).describe('its client id'),
    },
    { positional: ['name', 'clientId'] },
  ),

  'bridge/health': verb(
    'viewer',
    'Say whether the bridge is ready, or why not, and what waits for a person.',
    {},
  ),

  'backup/create': verb('admin', 'Make a backup of the database and check it, while everything goes on.', {}),
} as const satisfies Record<string, VerbDefinition>

export type VerbName = keyof typeof VERBS
export type VerbArgs<V extends VerbName> = z.output<(typeof VERBS)[V]['args']>

export function isVerb(text: string): text is VerbName {
  return Object.hasOwn(VERBS, text)
}

/** Verbs whose requests are acknowledged before they are decided. */
export const LONG_VERBS: readonly VerbName[] = (Object.keys(VERBS) as VerbName[]).filter(
  (name) => (VERBS[name] as VerbDefinition).long === true,
)
