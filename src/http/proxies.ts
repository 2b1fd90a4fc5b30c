import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Log } from '../bridge/ports.ts'
import type { Clock } from '../kernel/clock.ts'
import type { LogThrottle } from '../kernel/log-throttle.ts'
import type { Network } from '../kernel/networks.ts'
import { clientAddressOf, ProxyDoor } from '../kernel/proxy-door.ts'
import { proxyHeaderVersion } from '../kernel/proxy-header.ts'

interface Behind {
  readonly proxyNetworks?: readonly Network[]
  readonly log: Log
  readonly clock: Clock
}

type Accept = (this: Server, socket: Socket) => void

/**
 * Reads the header of the PROXY protocol before anything else does: call it when everybody who listens to `connection`
 * is there. A header from elsewhere is named in the log.
 */
export function standBehindProxies(
  server: Server,
  { proxyNetworks: networks = [], log, clock }: Behind,
  throttle: LogThrottle,
): ProxyDoor {
  const door = new ProxyDoor({
    networks,
    clock,
    refused: (address, fault) =>
      throttle.write('proxy', (suppressed) =>
        log.warn(
          { address, suppressed },
          `http: the proxy ${address} (http.proxyNetworks) ${fault}: connection closed`,
        ),
      ),
  })
  const accept = server.listeners('connection') as Accept[]
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) =>
    door.enter(socket, () => {
      for (const each of accept) each.call(server, socket)
    }),
  )
  server.on('clientError', (error: Error & { readonly rawPacket?: Buffer }, socket: Socket) => {
    const version = error.rawPacket && proxyHeaderVersion(error.rawPacket)
    if (version === undefined) return
    const address = clientAddressOf(socket)
    throttle.write('proxy', (suppressed) =>
      log.warn(
        { address, suppressed },
        `http: a header of the PROXY protocol (v${version}), which is not taken from ${address}: turn it off in the proxy, or name the proxy in http.proxyNetworks`,
      ),
    )
  })
  return door
}
