import { z } from 'zod'
import { valueSchema } from '../src/protocol/descriptions.ts'
import { EVENTS } from '../src/protocol/events.ts'
import { RESULTS } from '../src/protocol/results.ts'
import {
  approvalSchema,
  auditRowSchema,
  bridgeInfoSchema,
  capabilityEntrySchema,
  errorBodySchema,
  heartbeatSchema,
  invocationResultSchema,
  invocationSchema,
  leaseSchema,
  pairingAnswerSchema,
  pendingRequestSchema,
  registrationSchema,
  shownInvocationSchema,
  stateSchema,
  timeSchema,
  transactionSchema,
} from '../src/protocol/schemas.ts'
import { shownDescriptionSchema } from '../src/protocol/shown-description.ts'
import { VERBS, type VerbName } from '../src/protocol/verbs.ts'

/** Every payload as JSON Schema (draft 7, which AsyncAPI 3 builds upon), from the schemas that the code checks with. */

export type JsonSchema = Record<string, unknown>

/** `node/rotate-key` → `NodeRotateKey`. */
export function pascal(name: string): string {
  return name.replace(/(?:^|[^A-Za-z0-9])([A-Za-z0-9])/g, (_all, letter: string) => letter.toUpperCase())
}

export const verbNames = Object.keys(VERBS) as VerbName[]

const transaction = transactionSchema.optional().describe('comes back in the response')

function payloads(): Record<string, z.ZodType> {
  const all: Record<string, z.ZodType> = {
    Time: timeSchema,
    Capability: capabilityEntrySchema,
    Error: errorBodySchema,
    Registration: registrationSchema,
    Heartbeat: heartbeatSchema,
    PairingAnswer: pairingAnswerSchema,
    State: stateSchema,
    Description: shownDescriptionSchema,
    ValueSchema: valueSchema,
    PendingRequest: pendingRequestSchema,
    BridgeInfo: bridgeInfoSchema,
    Invocation: invocationSchema,
    InvocationResult: invocationResultSchema,
    ShownInvocation: shownInvocationSchema,
    Approval: approvalSchema,
    Lease: leaseSchema,
    AuditRow: auditRowSchema,
    Refusal: z.object({ transaction, ok: z.literal(false), error: errorBodySchema }),
  }
  for (const [kind, { fields }] of Object.entries(EVENTS)) {
    all[`Event${pascal(kind)}`] = z.object({ kind: z.literal(kind), at: timeSchema, ...fields.shape })
  }
  for (const verb of verbNames) {
    const name = pascal(verb)
    all[`${name}Request`] = z.strictObject({ transaction, ...VERBS[verb].args.shape })
    all[`${name}Response`] = z.object({ transaction, ok: z.literal(true), data: RESULTS[verb] })
  }
  return all
}

const schemaRef = (id: string) => `#/components/schemas/${id}`

/** By name. What the code drops without a word (an unknown key) the schemas allow. */
export function jsonSchemas(): Record<string, JsonSchema> {
  const registry = z.registry<{ id?: string }>()
  for (const [id, schema] of Object.entries(payloads())) registry.add(schema, { id })
  const { schemas } = z.toJSONSchema(registry, {
    target: 'draft-7',
    io: 'input',
    uri: schemaRef,
    override: ({ jsonSchema }) => {
      // `format` says it already, and shorter.
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
      // What JavaScript can count to is no rule of the protocol.
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
    },
  })
  return Object.fromEntries(
    Object.entries(schemas).map(([id, schema]) => {
      const { $schema: _schema, $id: _id, ...rest } = schema as JsonSchema
      return [id, rest]
    }),
  )
}
