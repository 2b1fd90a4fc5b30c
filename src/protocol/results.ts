import { z } from 'zod'
import { AUDIT_LOGS } from './audit-kinds.ts'
import { capabilitySchema, LOG_LEVELS, nameSchema, REASONS, ROLES, STATUSES, TROUBLES } from './names.ts'
import { PRESENCE_MODES } from './presence.ts'
import {
  auditRowSchema,
  bridgeInfoSchema,
  leaseSchema,
  levelSchema,
  pendingRequestSchema,
  refusedItemSchema,
  shownInvocationSchema,
  stateSchema,
  timeSchema,
} from './schemas.ts'
import { shownDescriptionSchema } from './shown-description.ts'
import { thingSchema } from './things.ts'
import type { VerbName } from './verbs.ts'
import { WEBHOOK_FORMATS, WEBHOOK_STATES } from './webhooks.ts'

/** `data` of the response to each verb. Handlers return these types; the documents are made from the same. */

function page<T extends z.ZodType>(item: T) {
  return z.object({
    items: z.array(item),
    next: z.string().optional().describe('give it as `after` for the next page; absent on the last one'),
  })
}

const nodeRef = z.object({ nodeId: nameSchema })
const provisioned = nodeRef.extend({
  apiKey: z.string().optional().describe('the key, when the bridge made it; told once'),
})
const decided = nodeRef.extend({ requestId: z.string() })
const refusedUntil = timeSchema
  .optional()
  .describe('until when what was refused stays refused, unless `pairing/forgive` lifts it')

const policyTriple = z.object({
  principal: z.union([z.literal('*'), nameSchema]),
  nodeId: z.union([z.literal('*'), nameSchema]),
  capability: z.union([z.literal('*'), capabilitySchema]),
})
const policy = policyTriple.extend({ level: levelSchema, setAt: timeSchema, setBy: z.string() })

const decidedBy = z
  .enum(['policy', 'capability', 'default'])
  .describe('an entry of the policy, the approved level of the capability, or neither (denied)')
const raisedFrom = levelSchema.describe('what it would be without `policy.floor`')

const principal = z.object({
  name: nameSchema,
  role: z.enum(ROLES),
  createdAt: timeSchema,
  createdBy: z.string(),
})
const session = z.object({
  name: nameSchema.describe('the limb or principal whose session it is'),
  clientId: z.string(),
  live: z.boolean().describe('whether it is connected now'),
  address: z.string().optional().describe('where a live one comes from'),
  since: timeSchema.describe('when a live one connected; when one that is away was used last'),
  queued: z.int().describe('messages that wait for it'),
})
const token = z.object({
  tokenId: z.string(),
  name: z.string(),
  principal: nameSchema,
  role: z.enum(ROLES).describe('what it may do at most; never more than its principal'),
  createdAt: timeSchema,
  expiresAt: timeSchema.optional().describe('absent: it does not end by itself'),
  lastUsedAt: timeSchema.optional(),
  lastAddress: z.string().optional(),
})
const madePassword = z.string().optional().describe('the password, when the bridge made it; told once')

export const RESULTS = {
  'node/list': page(stateSchema),
  'node/get': stateSchema.extend({ description: shownDescriptionSchema }),
  'node/why': nodeRef.extend({
    known: z.boolean().describe('whether there is an approved limb of this name'),
    status: z.enum(STATUSES).optional(),
    reason: z.enum(REASONS).optional(),
    session: z
      .object({
        address: z.string(),
        clientId: z.string(),
        as: z.enum(['limb', 'candidate', 'principal']),
        since: timeSchema.optional(),
        version: z.string().optional().describe('of MQTT'),
        subscribed: z.boolean().optional().describe('whether a limb hears what it is invoked for'),
      })
      .optional()
      .describe('the live connection under this name'),
    lastRefusedSignIn: z
      .object({ at: timeSchema, address: z.string(), reason: z.string() })
      .optional()
      .describe('since the bridge started'),
    lastRefusedRegistration: z
      .object({ at: timeSchema, address: z.string(), reason: z.string() })
      .optional()
      .describe('the last registration, if it was refused'),
    lastDenied: z.object({ at: timeSchema, what: z.string(), topic: z.string() }).optional(),
    pending: z.array(pendingRequestSchema).optional(),
    refused: z.array(refusedItemSchema).optional(),
    heartbeatDueAt: timeSchema.optional().describe('without a heartbeat until then it is offline'),
    advice: z.array(z.string()).describe('what to do next, each a sentence'),
  }),
  'node/history': page(
    z.object({ at: timeSchema, status: z.enum(['online', 'offline']), reason: z.enum(REASONS) }),
  ).extend({
    nodeId: nameSchema,
    since: timeSchema.describe('what was asked for, or since when the bridge keeps history of this limb'),
    until: timeSchema,
    onlineSeconds: z.int().describe('how long it was online in that time; `busy` and `degraded` count'),
    uptimePercent: z.number().optional().describe('the same in percent; absent when no time has passed'),
  }),
  'node/rename': nodeRef.extend({ displayName: z.string() }),
  'node/revoke': nodeRef.extend({ refusedUntil }),
  'node/rotate-key': nodeRef.extend({
    apiKey: z.string().describe('the new key; told once'),
    toldToLimb: z.boolean().describe('whether the live session of the limb was told the key'),
  }),
  'node/set': nodeRef.extend({
    presence: z.enum(PRESENCE_MODES),
    heartbeatSeconds: z.int(),
    timeoutSeconds: z.int(),
    area: z.string().optional(),
  }),
  'node/describe': shownDescriptionSchema,
  'node/thing': thingSchema,
  'node/provision': provisioned,
  'node/import': z.object({ items: z.array(provisioned) }),

  'pairing/list': page(z.union([pendingRequestSchema, refusedItemSchema])),
  'pairing/approve': decided.extend({
    status: z.enum(STATUSES).optional().describe('of the limb, right after the approval'),
  }),
  'pairing/reject': decided.extend({ refusedUntil }),
  'pairing/forgive': nodeRef.extend({ forgiven: z.int().describe('how many keys and widenings') }),
  'pairing/permit': z.object({
    pairingWindow: bridgeInfoSchema.shape.pairingWindow.unwrap().nullable(),
    approved: z.array(nameSchema).optional().describe('with `waiting`: the limbs that had waited'),
  }),

  'policy/list': page(policy),
  'policy/set': policy.extend({
    beatenBy: z
      .array(policy)
      .optional()
      .describe('narrower entries that are looser, so that this one does not hold where they do; at most 20'),
    warnings: z.array(z.string()).optional().describe('what may not be meant: sentences'),
  }),
  'policy/delete': policyTriple,
  'policy/explain': z.object({
    level: levelSchema.optional().describe('of what was asked about; absent in a list'),
    decidedBy: decidedBy.optional(),
    entry: policy.optional(),
    raisedFrom: raisedFrom.optional(),
    items: z
      .array(
        z.object({
          nodeId: nameSchema,
          capability: capabilitySchema,
          level: levelSchema,
          decidedBy,
          entry: policy.optional(),
          raisedFrom: raisedFrom.optional(),
        }),
      )
      .optional()
      .describe('without a limb or a capability: what the principal can still use'),
    next: z.string().optional().describe('give it as `after` for the next page; absent on the last one'),
  }),

  invoke: nodeRef.extend({
    invocationId: z.string(),
    data: z.unknown().optional().describe('what the limb answered'),
    artifactUri: z.string().optional(),
  }),
  'invocation/list': page(shownInvocationSchema),
  'invocation/get': shownInvocationSchema.extend({
    params: z.unknown().optional().describe('while it waits for an operator'),
    expiresAt: timeSchema.optional(),
  }),
  'invocation/approve': shownInvocationSchema,
  'invocation/deny': shownInvocationSchema,
  'invocation/cancel': z.object({ invocationId: z.string(), state: z.literal('cancelled') }),

  'lease/acquire': leaseSchema.extend({
    warning: z
      .string()
      .optional()
      .describe('what the lease does not do: keep others out of a free capability'),
  }),
  'lease/renew': leaseSchema,
  'lease/release': z.object({ leaseId: z.string() }),
  'lease/list': page(leaseSchema),

  'audit/list': page(auditRowSchema),
  'audit/verify': z.object({
    whole: z.boolean(),
    rows: z.int().describe('rows that were checked'),
    firstSeq: z.int().optional().describe('the oldest row there is'),
    lastSeq: z.int().optional().describe('the newest decision there is'),
    lastHash: z.string().optional().describe('its hash; keep both elsewhere, and give them next time'),
    ends: z
      .array(z.object({ log: z.enum(AUDIT_LOGS), seq: z.int(), hash: z.string() }))
      .describe('the newest row of each of the logs; any one of them can be given next time'),
    known: z
      .enum(['there', 'pruned'])
      .optional()
      .describe('the row that was asked about: there with that hash, or taken by retention'),
    brokenAt: z.int().optional().describe('the first row that is not what was written, or is missing'),
    problem: z.string().optional().describe('the same as a sentence'),
  }),

  'principal/list': page(principal),
  'principal/add': principal.extend({ password: madePassword }),
  'principal/set-password': z.object({ name: nameSchema, password: madePassword }),
  'principal/set-role': principal,
  'principal/remove': z.object({ name: nameSchema }),

  'token/add': token.extend({ token: z.string().describe('the token; told once') }),
  'token/list': page(token),
  'token/remove': z.object({ tokenId: z.string() }),

  'session/list': page(session),
  'session/forget': z.object({ name: nameSchema, clientId: z.string() }),

  'bridge/health': z.object({
    ready: z.boolean().describe('whether it can do its work now, as `/readyz` says'),
    reasons: z.array(z.string()).describe('why not, each a sentence; empty when it is ready'),
    warnings: z
      .array(z.string())
      .describe('what works and needs a look, each a sentence with the setting that moves it'),
    pendingRequests: z.int().describe('requests of limbs that wait for an operator'),
    waitingCalls: z.int().describe('gated invocations that wait for an operator'),
    uplinks: z.array(z.object({ name: z.string(), connected: z.boolean() })),
    lead: z
      .object({ name: z.string(), since: timeSchema })
      .optional()
      .describe('on PostgreSQL: the bridge that leads, which is this one, and since when'),
    lastBackupAt: timeSchema.nullable().describe('when the newest backup that is there was made'),
    troubles: z
      .array(
        z.object({
          nodeId: nameSchema,
          kind: z.enum(TROUBLES).describe('the kind of the event'),
          at: timeSchema.describe('when it was told last'),
        }),
      )
      .describe(
        'limbs that an event of the last ten minutes called flapping, two with one key, or faulty; the newest first, 100 at most',
      ),
    you: z.object({ name: nameSchema, role: z.enum(ROLES) }).describe('as whom the bridge takes who asks'),
  }),

  'bridge/doctor': z.object({
    items: z.array(
      z.object({
        what: z.string().describe('what was looked at, such as `certificate`'),
        level: z.enum(['ok', 'warning', 'problem']),
        message: z.string().describe('what there is, and for anything but `ok` what to do'),
      }),
    ),
  }),
  'bridge/log': z.object({
    items: z.array(
      z.object({
        at: z.string(),
        level: z.enum(LOG_LEVELS),
        message: z.string(),
        fields: z.record(z.string(), z.unknown()),
      }),
    ),
  }),

  'webhook/list': z.object({
    items: z.array(
      z.object({
        name: z.string(),
        format: z.enum(WEBHOOK_FORMATS),
        host: z.string().nullable().describe('where it is sent; null: the file with the URL cannot be used'),
        state: z
          .enum(WEBHOOK_STATES)
          .describe(
            '`idle`: nothing was sent since the start; `failing`: the last try failed, and it is tried again; `gone`: the receiver answered 410, and nothing is sent until a reload',
          ),
        events: z.array(z.string()),
        queued: z.int().describe('deliveries that wait'),
        delivered: z.int().describe('since the start of the bridge'),
        dropped: z.int().describe('deliveries that were given up since the start: no room, or no time left'),
        lastDeliveredAt: timeSchema.nullable(),
        failingSince: timeSchema.nullable(),
        lastFailure: z.string().nullable(),
        nextTryAt: timeSchema.nullable(),
      }),
    ),
  }),
  'webhook/test': z.object({
    name: z.string(),
    delivered: z.boolean(),
    status: z.int().optional().describe('the HTTP status of the answer'),
    failure: z.string().optional().describe('why it was not taken'),
    durationMs: z.int(),
  }),

  'backup/list': z.object({
    items: z.array(z.object({ file: z.string(), bytes: z.int(), takenAt: timeSchema })),
  }),
  'backup/create': z.object({
    file: z.string().describe('where it is, on the machine of the bridge'),
    bytes: z.int(),
    takenAt: timeSchema,
  }),
} as const satisfies Record<VerbName, z.ZodObject>

/** The value that a handler resolves to. */
export type VerbResult<V extends VerbName> = z.input<(typeof RESULTS)[V]>
