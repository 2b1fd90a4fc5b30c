import type { Readable, Writable } from 'node:stream'
import type { McpServerFactory } from '@modelcontextprotocol/server'

export interface StdioServer {
  close(): Promise<void>
}

interface Sender {
  send(message: object): Promise<void>
}

/** Serves one client by lines of JSON. `answered` is told the id of each request whose response has been written. */
export async function serveByLines(
  servers: McpServerFactory,
  input: Readable,
  output: Writable,
  answered: (id: unknown) => void,
): Promise<StdioServer> {
  const { serveStdio, StdioServerTransport } = await import('@modelcontextprotocol/server/stdio')
  const transport = new StdioServerTransport(input, output)
  reportAnswers(transport, answered)
  return serveStdio(servers, { transport })
}

function reportAnswers(transport: Sender, answered: (id: unknown) => void): void {
  const send = transport.send.bind(transport)
  transport.send = async (message) => {
    await send(message)
    if ('id' in message && !('method' in message)) answered(message.id)
  }
}
