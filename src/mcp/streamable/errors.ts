/** Names the codes of JSON-RPC that the transport answers with. */
export const RPC = {
  parse: -32_700,
  invalidParams: -32_602,
  server: -32_000,
  noSession: -32_001,
} as const

/** Is the answer of a request; `ended` must be called when the response has been sent, or its client has gone. */
export interface McpAnswer {
  readonly response: Response
  ended(): void
}

/** Makes the answer of a request that reaches no server: an error of JSON-RPC without an id. */
export function refusedAnswer(status: number, code: number, message: string): McpAnswer {
  const response = Response.json({ jsonrpc: '2.0', error: { code, message }, id: null }, { status })
  return { response, ended: () => undefined }
}
