import { connectAsync } from 'mqtt'
import { serveCommands } from './rpc.ts'

/**
 * What people write beside Mosquitto to know which device is there: it listens to every heartbeat, has a timer
 * for each device, and publishes a retained status when one changes. It checks nobody's rights or payload.
 */

const TIMEOUT_MS = 45_000

interface Device {
  status: string
  readonly timer: NodeJS.Timeout
}

const devices = new Map<string, Device>()
let seen = 0
let wanted = 0
let reached: (() => void) | undefined

interface Start {
  readonly port: number
  readonly qos: 0 | 1
  readonly username?: string
  readonly password?: string
}

async function start({ port, qos, ...credentials }: Start): Promise<void> {
  const options = { clientId: 'presence', reconnectPeriod: 0, ...credentials }
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, options)

  function setStatus(id: string, device: Device, status: string): void {
    if (device.status === status) return
    device.status = status
    client.publish(`limb/node/${id}/status`, status, { qos: 1, retain: true })
  }

  client.on('message', (topic, payload) => {
    const id = topic.split('/')[2] ?? ''
    let device = devices.get(id)
    if (device) {
      device.timer.refresh()
    } else {
      const timer = setTimeout(() => {
        const gone = devices.get(id)
        if (gone) setStatus(id, gone, 'offline')
      }, TIMEOUT_MS)
      device = { status: 'offline', timer }
      devices.set(id, device)
    }
    const heartbeat = payload.length === 0 ? {} : (JSON.parse(payload.toString()) as { status?: string })
    setStatus(id, device, heartbeat.status ?? 'online')
    if (++seen === wanted) reached?.()
  })
  await client.subscribeAsync('limb/node/+/heartbeat', { qos })
}

/** Resolves when it has seen `count` heartbeats since it started. */
async function sawAll({ count }: { count: number }): Promise<void> {
  if (seen >= count) return
  wanted = count
  await new Promise<void>((resolve) => {
    reached = resolve
  })
}

const commands = { start, sawAll }
export type ScriptCommands = typeof commands

serveCommands(commands)
