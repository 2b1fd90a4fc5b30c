import { z } from 'zod'

/**
 * The entry of a server in the MCP registry, as its schema of 2025-12-11 describes it. That schema lets unknown keys
 * pass; here they are mistakes, because a misspelt one would be passed over in silence.
 */

export const REGISTRY_SCHEMA = 'https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json'

const input = {
  description: z.string().optional(),
  isRequired: z.boolean().optional(),
  isSecret: z.boolean().optional(),
  format: z.enum(['string', 'number', 'boolean', 'filepath']).optional(),
  value: z.string().optional(),
  default: z.string().optional(),
  placeholder: z.string().optional(),
  choices: z.array(z.string()).optional(),
}
const variables = z.record(z.string(), z.strictObject(input)).optional()
const withVariables = { ...input, variables }
const keyValue = z.strictObject({ ...withVariables, name: z.string() })
const isRepeated = z.boolean().optional()

const argument = z.union([
  z
    .strictObject({
      ...withVariables,
      type: z.literal('positional'),
      valueHint: z.string().optional(),
      isRepeated,
    })
    .refine(({ value, valueHint }) => value !== undefined || valueHint !== undefined, 'value or valueHint'),
  z.strictObject({ ...withVariables, type: z.literal('named'), name: z.string(), isRepeated }),
])

const url = z.string().regex(/^https?:\/\/[^\s]+$/)
const httpTransport = { type: z.enum(['streamable-http', 'sse']), url, headers: z.array(keyValue).optional() }
/** A version of its own: no range, and not `latest`. */
const version = z
  .string()
  .max(255)
  .regex(/^\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$/)

const packageEntry = z.strictObject({
  registryType: z.enum(['npm', 'pypi', 'oci', 'nuget', 'mcpb']),
  registryBaseUrl: url.optional(),
  identifier: z.string().min(1),
  version: version.optional(),
  fileSha256: z
    .string()
    .regex(/^[a-f0-9]{64}$/)
    .optional(),
  runtimeHint: z.string().optional(),
  transport: z.union([z.strictObject({ type: z.literal('stdio') }), z.strictObject(httpTransport)]),
  runtimeArguments: z.array(argument).optional(),
  packageArguments: z.array(argument).optional(),
  environmentVariables: z.array(keyValue).optional(),
})

export const registryEntry = z.strictObject({
  $schema: z.literal(REGISTRY_SCHEMA),
  name: z
    .string()
    .min(3)
    .max(200)
    .regex(/^[a-zA-Z0-9.-]+\/[a-zA-Z0-9._-]+$/),
  title: z.string().min(1).max(100).optional(),
  description: z.string().min(1).max(100),
  version,
  websiteUrl: url.optional(),
  repository: z.strictObject({ url, source: z.string(), id: z.string().optional() }).optional(),
  packages: z.array(packageEntry).optional(),
  remotes: z.array(z.strictObject({ ...httpTransport, variables })).optional(),
})

/** The names in `{curly_braces}` of a text. */
export function placeholdersIn(text: string): string[] {
  return [...text.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
}
