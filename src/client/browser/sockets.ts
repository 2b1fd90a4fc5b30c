import type { Socket } from 'node:net'

/** Stands for `node:net` in a browser, which opens no sockets. */
export function connect(path: string): Socket {
  throw new Error(`a browser opens no socket such as ${path}; connect to ws:// or wss://`)
}
