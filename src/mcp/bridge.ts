import type { Topics } from '../protocol/topics.ts'

/** Takes what is published on a watched topic. Total and quick. */
export type OnTopic = (topic: string, payload: Buffer, retained: boolean) => void

/** The bridge as the MCP server needs it: a session of the command line, or the bridge's own process. */
export interface McpBridge {
  readonly topics: Topics
  /** Resolves with the verb's data. Rejects with an error that `failureOf` of the server's parts knows. */
  request(verb: string, args: object, signal?: AbortSignal, transaction?: string): Promise<unknown>
  /** Resolves when every filter is granted. A filter has no wildcard but `+` as its last level. */
  watch(filters: readonly string[], onTopic: OnTopic): Promise<void>
  /** Calls the listener at every loss and return of the connection. */
  onConnection(listener: (connected: boolean) => void): void
}
