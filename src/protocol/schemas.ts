import { z } from 'zod'
import { ERROR_CODES, type ErrorCode } from '../kernel/errors.ts'
import { hiddenIn, isBlank } from '../kernel/readable-text.ts'
import { adapterSchema } from './adapter.ts'
import {
  type CommandDescription,
  commandDescriptionSchema,
  type Description,
  descriptionSchema,
  descriptionShape,
} from './descriptions.ts'
import { LIMITS } from './limits.ts'
import {
  capabilitySchema,
  commandSchema,
  INVOCATION_STATES,
  LEVELS,
  nameSchema,
  REASONS,
  REPORTED_STATUSES,
  STATUSES,
} from './names.ts'
import { presenceModeOf, presenceSchema } from './presence.ts'
import { displayNameSchema, isHttpUrl, printable } from './texts.ts'

/** The payloads of the protocol. Code, documents and the AsyncAPI page are made from these. */

export { displayNameSchema, printable } from './texts.ts'

/**
 * Any JSON, as `JSON.parse` gives it. Of a number beyond its range that makes Infinity, which is written as `null`: it
 * is refused, because nobody would notice.
 */
export function anyJson() {
  return z.unknown().superRefine((value, context) => {
    if (holdsInfinity(value, 0)) {
      context.addIssue({ code: 'custom', path: pathToInfinity(value), message: BEYOND_RANGE })
    }
  })
}

const BEYOND_RANGE = 'is a number beyond 1.8e308, which no reader could take; send it as a string'

/** Returns whether a value holds Infinity. One that is nested deeper than JSON may be here is refused elsewhere. */
export function holdsInfinity(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return !Number.isFinite(value)
  if (typeof value !== 'object' || value === null || depth > LIMITS.jsonDepth) return false
  if (Array.isArray(value)) return listHoldsInfinity(value, depth)
  // Of JSON.parse: every key is its own.
  for (const key in value) if (holdsInfinity((value as Record<string, unknown>)[key], depth + 1)) return true
  return false
}

/** Looks at numbers in their list: each that is handed on would be an object. */
function listHoldsInfinity(list: readonly unknown[], depth: number): boolean {
  for (let i = 0; i < list.length; i++) {
    const each = list[i]
    if (typeof each === 'number' ? !Number.isFinite(each) : holdsInfinity(each, depth + 1)) return true
  }
  return false
}

function pathToInfinity(value: unknown): (string | number)[] {
  if (typeof value !== 'object' || value === null) return []
  const [key = '', each] = Object.entries(value).find(([, each]) => holdsInfinity(each, 0)) ?? []
  return [Array.isArray(value) ? Number(key) : key, ...pathToInfinity(each)]
}

export const levelSchema = z.enum(LEVELS)

export const capabilityEntrySchema = z.object({
  cap: capabilitySchema,
  commands: z
    .array(commandSchema)
    .max(LIMITS.commandsPerCapability)
    .refine((list) => new Set(list).size === list.length, { error: 'names a command twice' }),
  authLevel: levelSchema,
})
/** One ability of a limb, its commands, and how freely it may be invoked when no policy says otherwise. */
export type Capability = z.infer<typeof capabilityEntrySchema>

/** The abilities of one limb. */
export function capabilityListOf<T extends typeof capabilityEntrySchema>(entry: T) {
  return z
    .array(entry)
    .max(LIMITS.capabilities)
    .refine((list) => new Set(list.map(({ cap }) => cap)).size === list.length, {
      error: 'names a capability twice',
    })
}

export const capabilitiesSchema = capabilityListOf(capabilityEntrySchema)

const endpointUrlSchema = z
  .string()
  .max(LIMITS.urlChars)
  .refine(isHttpUrl, { error: 'must be an http:// or https:// URL without user name and password' })
  .refine((text) => URL.parse(text)?.port !== '0', {
    error: 'has port 0, which nothing listens on; name the port that your server has, once it listens',
  })

const registered = {
  displayName: displayNameSchema,
  platform: printable(LIMITS.platformChars),
  endpointUrl: endpointUrlSchema.optional(),
  invoke: z.enum(['mqtt', 'http']).optional(),
  firmware: printable(LIMITS.firmwareChars).optional(),
  heartbeatSeconds: z.int().min(LIMITS.heartbeatSecondsMin).max(LIMITS.heartbeatSecondsMax).optional(),
  timeoutSeconds: z.int().min(LIMITS.heartbeatSecondsMin).max(LIMITS.timeoutSecondsMax).optional(),
  presence: presenceSchema.optional(),
}

/** Refuses a timeout that is shorter than the interval: such a limb would never be there. */
const intervalsFit = {
  check: ({
    heartbeatSeconds,
    timeoutSeconds,
  }: {
    heartbeatSeconds?: number | undefined
    timeoutSeconds?: number | undefined
  }) => timeoutSeconds === undefined || heartbeatSeconds === undefined || timeoutSeconds > heartbeatSeconds,
  problem: { error: 'must be more than heartbeatSeconds', path: ['timeoutSeconds'] },
}

/** A capability as a limb registers it: each command a name, or an object that describes it. */
const registeredCapabilitySchema = z.object({
  cap: capabilitySchema,
  commands: z
    .array(z.union([commandSchema, commandDescriptionSchema]))
    .max(LIMITS.commandsPerCapability)
    .refine((list) => new Set(list.map(commandName)).size === list.length, {
      error: 'names a command twice',
    }),
  authLevel: levelSchema,
})

function commandName(command: string | CommandDescription): string {
  return typeof command === 'string' ? command : command.name
}

const wireRegistrationSchema = z
  .object({
    ...registered,
    ...descriptionShape,
    brief: z
      .boolean()
      .optional()
      .describe('asks for an `approved` answer without `capabilities`, for a device with a small buffer'),
    capabilities: z
      .array(registeredCapabilitySchema)
      .max(LIMITS.capabilities)
      .refine((list) => new Set(list.map(({ cap }) => cap)).size === list.length, {
        error: 'names a capability twice',
      }),
  })
  .refine((value) => value.invoke !== 'http' || value.endpointUrl !== undefined, {
    error: 'is needed with "invoke": "http"',
    path: ['endpointUrl'],
  })
  .refine((value) => presenceModeOf(value.presence) !== 'probe' || value.endpointUrl !== undefined, {
    error: 'is needed with "presence": "probe", which asks for <endpointUrl>/health',
    path: ['endpointUrl'],
  })
  .refine(intervalsFit.check, intervalsFit.problem)

/** The message that a limb sends in `register`. */
export type WireRegistration = z.input<typeof wireRegistrationSchema>

/** A registration as it is stored: the names of the commands with the capabilities, the words about them apart. */
export const storedRegistrationSchema = z.object({
  ...registered,
  capabilities: capabilitiesSchema,
  described: descriptionSchema.optional(),
  adapter: adapterSchema.optional(),
})
export type Registration = z.infer<typeof storedRegistrationSchema>

/** The registration that is stored, and what concerns the answer alone. */
export type DecodedRegistration = Registration & { readonly brief?: boolean | undefined }

export const registrationSchema = wireRegistrationSchema.transform((value, context): DecodedRegistration => {
  const { description, model, manufacturer, area, configurationUrl, properties, capabilities, ...rest } =
    value
  const commands = capabilities.flatMap((entry) =>
    entry.commands.filter((command) => typeof command !== 'string'),
  )
  const words = { description, model, manufacturer, area, configurationUrl, properties }
  const fields = Object.entries({ ...words, commands: commands.length === 0 ? undefined : commands })
  const known = fields.filter(([, each]) => each !== undefined)
  const names = capabilities.map((entry) => ({ ...entry, commands: entry.commands.map(commandName) }))
  if (known.length === 0) return { ...rest, capabilities: names }
  const described = descriptionSchema.safeParse(Object.fromEntries(known))
  if (!described.success) {
    for (const { path, message } of described.error.issues)
      context.addIssue({ code: 'custom', path: [...path], message })
    return z.NEVER
  }
  return { ...rest, capabilities: names, described: described.data as Description }
})

/** Matches what most metrics are called; no other rule has to be looked at then. */
const USUAL_METRIC_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/

/**
 * Any readable text, such as `28-0316a4` or `Außen links`. `__proto__` is no key of an object that programs would
 * keep.
 */
export function isMetricName(name: string): boolean {
  if (USUAL_METRIC_NAME.test(name)) return true
  const fits = name.length <= LIMITS.metricNameChars && name !== '__proto__'
  return fits && hiddenIn(name) === undefined && !isBlank(name)
}

const metricNameSchema = z
  .string()
  .min(1)
  .max(LIMITS.metricNameChars)
  .refine(isMetricName, {
    error: `the name of a metric is 1 to ${LIMITS.metricNameChars} readable characters`,
  })

export const heartbeatSchema = z.object({
  status: z.enum(REPORTED_STATUSES).optional(),
  unavailable: z.array(capabilitySchema).max(LIMITS.capabilities).optional(),
  metrics: z
    .record(metricNameSchema, z.number())
    .refine((record) => Object.keys(record).length <= LIMITS.metrics, {
      error: `has more than ${LIMITS.metrics} entries`,
    })
    .optional(),
})
export type Heartbeat = z.infer<typeof heartbeatSchema>

/** ISO 8601 in UTC with milliseconds. */
export const timeSchema = z.iso.datetime({ precision: 3 })

export const errorBodySchema = z.object({
  code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  path: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
})

/** The answer of the bridge on `pairing`. */
export const pairingAnswerSchema = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('pending'),
    requestId: z.string(),
    code: z.string().regex(/^[BCDFGHJKLMNPQRSTVWXZ]{8}$/),
    expiresAt: timeSchema,
    apiKey: z.string().optional().describe('The key the bridge made; told once, to this connection only.'),
  }),
  z.object({
    status: z.literal('approved'),
    heartbeatSeconds: z.int(),
    timeoutSeconds: z.int(),
    capabilities: capabilitiesSchema
      .optional()
      .describe('What is approved; absent when the registration said `"brief": true`.'),
    awaiting: z.string().optional().describe('The request for what is not approved yet.'),
    apiKey: z
      .string()
      .optional()
      .describe(
        'A key told now: made for a candidate that has none, or by `node/rotate-key`. Use it from now on.',
      ),
    invokeSecret: z
      .string()
      .optional()
      .describe('With `"invoke": "http"`: what the bridge signs its requests to the endpoint with.'),
  }),
  z.object({ status: z.literal('rejected') }),
  z.object({ status: z.literal('error'), error: errorBodySchema }),
])
export type PairingAnswer = z.infer<typeof pairingAnswerSchema>

export const stateSchema = z.object({
  nodeId: nameSchema,
  displayName: z.string(),
  platform: z.string(),
  firmware: z.string().optional(),
  endpointUrl: z.string().optional(),
  via: nameSchema.optional().describe('the limb behind whose session it is'),
  capabilities: z.array(capabilityEntrySchema.extend({ available: z.boolean() })),
  status: z.enum(STATUSES),
  reason: z.enum(REASONS),
  since: timeSchema,
  lastHeartbeatAt: timeSchema.nullable(),
  metrics: z.record(z.string(), z.number()).optional(),
  approvedAt: timeSchema,
  approvedBy: z.string(),
})
export type State = z.infer<typeof stateSchema>

export const PAIRING_REQUEST_KINDS = ['new', 'replace', 'widen'] as const
/** `new`: an unknown node; `replace`: another key for a paired node; `widen`: more capabilities for a paired node. */
export type PairingRequestKind = (typeof PAIRING_REQUEST_KINDS)[number]

export const addedCommandSchema = z.union([
  commandSchema,
  z.object({ name: commandSchema, title: z.string().optional(), description: z.string().optional() }),
])
export type AddedCommand = z.infer<typeof addedCommandSchema>

export const loosenedSchema = z.object({ capability: capabilitySchema, from: levelSchema, to: levelSchema })
export type LoosenedCapability = z.infer<typeof loosenedSchema>

export const pendingRequestSchema = z.object({
  requestId: z.string(),
  revision: z.int(),
  kind: z.enum(PAIRING_REQUEST_KINDS),
  nodeId: nameSchema,
  displayName: z.string(),
  platform: z.string(),
  firmware: z.string().optional(),
  endpointUrl: z.string().optional(),
  capabilities: capabilitiesSchema,
  adds: z
    .array(addedCommandSchema)
    .describe('the commands that are not approved yet; an object where the limb describes them'),
  loosens: z.array(loosenedSchema).describe('approved capabilities that would be freer'),
  code: z.string().optional(),
  conflict: z.boolean(),
  address: z.string(),
  requestedAt: timeSchema,
  expiresAt: timeSchema,
})
/** A request that waits for an operator, as `limb/bridge/pairing/<requestId>` and `pairing/list` show it. */
export type PendingPairingRequest = z.infer<typeof pendingRequestSchema>

export const REFUSAL_CAUSES = ['rejected', 'revoked', 'other_approved', 'widening_rejected'] as const
/** Says why something of a limb is refused for a while. */
export type RefusalCause = (typeof REFUSAL_CAUSES)[number]

export const refusedItemSchema = z.object({
  nodeId: nameSchema,
  why: z
    .enum(REFUSAL_CAUSES)
    .describe('`other_approved`: another claim to the name was approved, and this one waits a few minutes'),
  at: timeSchema,
  until: timeSchema,
})
/** A key, or a widening, that is refused for a while. */
export type RefusedItem = z.infer<typeof refusedItemSchema>

export const bridgeInfoSchema = z.object({
  version: z.string(),
  protocol: z.literal(1),
  startedAt: timeSchema,
  nodes: z.object({ approved: z.int(), online: z.int(), pending: z.int() }),
  pairingWindow: z
    .object({ until: timeSchema, max: z.int().optional(), nodeId: nameSchema.optional() })
    .optional(),
})
export type BridgeInfo = z.infer<typeof bridgeInfoSchema>

/** Echoed in the response, so that a client knows which request it answers. */
export const transactionSchema = z.union([z.string().max(LIMITS.transactionChars), z.number()])
export const responseSchema = z.union([
  z.object({ transaction: transactionSchema.optional(), ok: z.literal(true), data: z.unknown() }),
  z.object({ transaction: transactionSchema.optional(), ok: z.literal(false), error: errorBodySchema }),
])

export const invocationSchema = z.object({
  invocationId: z.string(),
  command: commandSchema,
  params: z.unknown(),
  principal: nameSchema,
  deadline: timeSchema,
  fence: z.int().optional().describe('rises with every lease; a limb refuses one lower than it has seen'),
})
/** The message that a limb gets on `invoke`. */
export type Invocation = z.infer<typeof invocationSchema>

/** Dashboards show it as a link: a browser would run what these say. */
const RUNNING_SCHEMES = ['javascript', 'vbscript', 'data', 'blob']

/** Matches an image as a data URL; not SVG, which can hold scripts. */
const DATA_IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}$/

const artifactUriSchema = z.string().max(LIMITS.urlChars).refine(isArtifactUri, {
  error:
    'must be an absolute URI that no browser runs, such as https://…, s3://… or file:///…, or a base64 data: URI of a PNG, JPEG, GIF or WebP',
})

function isArtifactUri(text: string): boolean {
  // A parser of URLs drops line breaks and tabs, also in the middle of a scheme.
  if (hiddenIn(text) !== undefined || /\s/.test(text)) return false
  const scheme = URL.parse(text)?.protocol.slice(0, -1)
  return DATA_IMAGE.test(text) || (scheme !== undefined && !RUNNING_SCHEMES.includes(scheme))
}

export const MAX_INVOCATION_ID_CHARS = 64

export const invocationResultSchema = z.object({
  invocationId: z.string().max(MAX_INVOCATION_ID_CHARS),
  success: z.boolean(),
  data: anyJson().optional(),
  artifactUri: artifactUriSchema.optional(),
  error: z.unknown().optional(),
})
/** The message that a limb sends on `result`. */
export type InvocationResult = z.infer<typeof invocationResultSchema>

const askedBy = {
  transaction: transactionSchema
    .optional()
    .describe('of the request, while it is under way: by it the caller knows which of its own it is'),
  callerAway: z
    .literal(true)
    .optional()
    .describe('nobody waits for its answer now; it has an idempotencyKey to ask for it with'),
}

/** One invocation as `invocation/list` shows it. Its params are shown while it waits for an operator, never after. */
export const shownInvocationSchema = z.object({
  invocationId: z.string(),
  principal: nameSchema,
  nodeId: nameSchema,
  capability: capabilitySchema,
  command: commandSchema,
  paramsHash: z.string().describe('SHA-256 of the params as canonical JSON, in hexadecimal'),
  level: levelSchema,
  state: z.enum(INVOCATION_STATES),
  createdAt: timeSchema,
  endedAt: timeSchema.optional(),
  fence: z.int().optional(),
  idempotencyKey: z.string().optional(),
  decidedBy: z.string().optional().describe('the operator who approved or denied it'),
  reason: z.string().optional(),
  error: errorBodySchema.optional(),
  late: z
    .object({ at: timeSchema, success: z.boolean() })
    .optional()
    .describe('a result that came after its time was up: when, and whether the limb had done it'),
  awaitsLimbUntil: timeSchema
    .optional()
    .describe('it waits for a limb that is away, until then; absent when it does not'),
  ...askedBy,
})
export type ShownInvocation = z.infer<typeof shownInvocationSchema>

/** An invocation that waits for an operator, as `limb/bridge/approval/<invocationId>` shows it. */
export const approvalSchema = z.object({
  invocationId: z.string(),
  principal: nameSchema,
  nodeId: nameSchema,
  capability: capabilitySchema,
  command: commandSchema,
  params: z.unknown().describe(`absent when longer than ${LIMITS.shownParamsBytes} bytes`),
  paramsStart: z.string().optional().describe('the beginning of longer params, as JSON text'),
  paramsBytes: z.int(),
  paramsHash: z.string(),
  requestedAt: timeSchema,
  expiresAt: timeSchema,
  ...askedBy,
})
export type PendingApproval = z.infer<typeof approvalSchema>

export const leaseSchema = z.object({
  leaseId: z.string(),
  nodeId: nameSchema,
  capability: capabilitySchema,
  principal: nameSchema,
  fence: z.int(),
  expiresAt: timeSchema,
  singleCall: z.boolean().describe('taken for one invocation, and ends with it'),
  queued: z.int().describe('how many wait for it'),
})
export type ShownLease = z.infer<typeof leaseSchema>

export const auditRowSchema = z.object({
  seq: z.int(),
  at: timeSchema,
  actor: z.string(),
  kind: z.string(),
  nodeId: nameSchema.optional(),
  outcome: z.string(),
  detail: z.record(z.string(), z.unknown()),
  hash: z.string().describe('SHA-256 of the hash before it and the row, in hexadecimal'),
})
