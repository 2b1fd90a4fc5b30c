import { httpLimits } from '../../src/assembly/settings.ts'
import type { Log } from '../../src/bridge/ports.ts'
import { configSchema } from '../../src/host/config/schema.ts'
import { createMetrics } from '../../src/http/metrics.ts'
import { type HttpLimits, type HttpOptions, type HttpServer, startHttp } from '../../src/http/server.ts'
import { systemClock } from '../../src/kernel/clock.ts'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} }

const NOBODY = {
  nodes: { online: 0, busy: 0, degraded: 0, asleep: 0, offline: 0 },
  pendingRequests: 0,
  sessions: { limb: 0 },
}

/** The defaults of the schema, but with bounds that a test can reach. */
export const SMALL_LIMITS: HttpLimits = {
  ...httpLimits(configSchema.parse({})),
  maxConnections: 100,
  maxConnectionsPerAddress: 100,
  maxPacketBytes: 100_000,
}

/** The web server alone, on a free port, with nothing behind it. */
export async function startHttpWith(
  more: Partial<HttpOptions>,
): Promise<HttpServer & AsyncDisposable & { url: string }> {
  const server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    ...SMALL_LIMITS,
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
