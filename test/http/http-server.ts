import type { Log } from '../../src/bridge/ports.ts'
import { createMetrics } from '../../src/http/metrics.ts'
import { type HttpOptions, type HttpServer, startHttp } from '../../src/http/server.ts'
import { systemClock } from '../../src/kernel/clock.ts'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} }

const NOBODY = {
  nodes: { online: 0, busy: 0, degraded: 0, asleep: 0, offline: 0 },
  pendingRequests: 0,
  sessions: { limb: 0 },
}

/** The web server alone, on a free port, with nothing behind it. */
export async function startHttpWith(
  more: Partial<HttpOptions>,
): Promise<HttpServer & AsyncDisposable & { url: string }> {
  const server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    token: null,
    allowedOrigins: [],
    allowedHosts: [],
    publicUrl: null,
    maxConnections: 100,
    maxConnectionsPerAddress: 100,
    maxPacketBytes: 100_000,
    maxConnectBytes: 4096,
    readiness: () => ({ ready: true, reasons: [] }),
    metrics: createMetrics({ version: '1.2.3', collect: () => NOBODY }),
    attach: (stream) => stream.destroy(),
    log: quiet,
    clock: systemClock,
    ...more,
  })
  return Object.assign(server, {
    url: `http://127.0.0.1:${server.port}`,
    [Symbol.asyncDispose]: () => server.close(),
  })
}
