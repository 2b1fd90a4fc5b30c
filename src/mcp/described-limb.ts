import { z } from 'zod'
import type { CommandDescription } from '../protocol/descriptions.ts'
import type { ShownDescription } from '../protocol/shown-description.ts'
import { markedDescriptionSchema, type Values } from './device-text.ts'

const schemaOfValue = z.record(z.string(), z.unknown())

const toolCommandSchema = z.object({
  name: z.string(),
  capability: z.string(),
  available: z.boolean().describe('false: the limb reports the capability as unavailable'),
  title: z.string().optional(),
  description: z.string().optional(),
  timeoutSeconds: z.int().optional(),
  inputSchema: schemaOfValue.describe('JSON Schema of `params`'),
  outputSchema: schemaOfValue.optional().describe('JSON Schema of the `data` that the limb answers'),
  annotations: z.object({
    readOnlyHint: z.boolean(),
    idempotentHint: z.boolean(),
    destructiveHint: z.boolean(),
  }),
})

/** Describes the answer of `limb_describe`: the description of the limb, its commands in the words of MCP's tools. */
export const describedLimbSchema = markedDescriptionSchema(z.array(toolCommandSchema))

/** Returns the answer of `limb_describe`, made from that of `node/get`. */
export function describedLimb(data: Values): Values {
  const { status, capabilities, description } = data as {
    status: unknown
    capabilities: readonly { cap: string; available: boolean }[]
    description: ShownDescription
  }
  const unavailable = new Set(capabilities.filter((each) => !each.available).map(({ cap }) => cap))
  const commands = description.commands.map(({ capability, ...command }) => ({
    capability,
    available: !unavailable.has(capability),
    ...toolWords(command),
  }))
  const { nodeId, ...words } = description
  return { nodeId, status, deviceText: { ...words, commands } }
}

/** Puts a command in the words of MCP. One that does not say what it does may do harm: so MCP takes any tool, too. */
function toolWords({ input, output, safe = false, idempotent = false, ...rest }: CommandDescription) {
  return {
    ...rest,
    inputSchema: { type: 'object', ...input },
    ...(output === undefined ? {} : { outputSchema: output }),
    annotations: { readOnlyHint: safe, idempotentHint: safe || idempotent, destructiveHint: !safe },
  }
}
