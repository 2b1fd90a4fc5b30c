/**
 * A camera in TypeScript (or JavaScript, without the types). In a clone of the repository, after `npm ci`:
 *
 *   npx node --conditions=source examples/typescript/camera.ts mqtt://127.0.0.1:1883 cam1
 *
 * In a project of your own: copy this file there, `npm install /path/to/limb-bridge-client-0.1.0.tgz` (which
 * `npm pack -w limb-bridge-client` makes in a clone; the package is not on the npm registry yet), and with Node 22.18 or newer
 *
 *   node camera.ts mqtt://127.0.0.1:1883 cam1
 *
 * It keeps its key in cam1.key, shows the pairing code, comes back after every loss, and takes pictures.
 */
import { Limb, picture } from 'limb-bridge-client'

const [url = 'mqtt://127.0.0.1:1883', nodeId = 'cam1'] = process.argv.slice(2)

/** Stands for a real camera: one grey pixel. */
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
let zoom = 1

const limb = new Limb({
  url,
  nodeId,
  keyFile: `${nodeId}.key`,
  registration: {
    displayName: 'Front camera',
    platform: 'node',
    firmware: '1.0.0',
    capabilities: [
      { cap: 'camera', commands: ['camera.snap'], authLevel: 'free' },
      { cap: 'lens', commands: ['lens.zoom'], authLevel: 'leased' },
    ],
  },
  handlers: {
    'camera.snap': () => ({ zoom, picture: picture('image/png', Buffer.from(PIXEL, 'base64')) }),
    'lens.zoom': ({ params }) => {
      const { factor } = params as { factor?: unknown }
      // What is thrown is the error that the caller reads: say what to do.
      if (typeof factor !== 'number' || factor < 1 || factor > 8)
        throw new Error('factor must be from 1 to 8')
      zoom = factor
      return { zoom }
    },
  },
  heartbeat: () => ({ metrics: { zoom } }),
  onEvent(event) {
    if (event.kind === 'pending') console.log(`code ${event.code}: waiting for an operator to approve it`)
    else if (event.kind === 'invoked')
      console.log(`${event.command} for ${event.principal}${event.success ? '' : ' failed'}`)
    else if (event.kind === 'disconnected')
      console.log(`${event.reason}; trying again in ${Math.round(event.retryMs / 1000)} s`)
    // The bridge did not take the registration: it says what to do about it.
    else if (event.kind === 'refused') console.log(`refused: ${event.message} (${event.code})`)
    else if (event.kind === 'rejected') console.log('rejected by an operator; trying again in some minutes')
    else if (event.kind === 'result_dropped')
      console.log(`the result of ${event.command} is lost: ${event.why}`)
    else console.log(event.kind)
  },
})

limb.start()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void limb.stop())
