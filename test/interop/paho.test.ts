import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { keyOf, startApp } from '../support/app.ts'
import { Command } from '../support/command.ts'
import { needs } from '../support/needs.ts'

needs('paho')

const SCRIPT = join(import.meta.dirname, 'device.py')
type App = Awaited<ReturnType<typeof startApp>>

/** Debian's Python, which has Debian's paho. */
const device = (app: App, nodeId: string, key: string, ...more: string[]) =>
  new Command('/usr/bin/python3', [SCRIPT, String(app.bridge.mqtt.port), nodeId, key, ...more])

async function event(command: Command, name: string) {
  return JSON.parse(await command.line(new RegExp(`"event": "${name}"`)))
}

describe('with paho', () => {
  it('a device without a key is given one, is approved, comes online, and says goodbye', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await admin.subscribe('limb/node/+/status')
    await using cam = device(app, 'cam1', '')
    expect(await event(cam, 'connect')).toMatchObject({ code: 0 })
    const { apiKey, requestId } = await event(cam, 'pairing')
    await admin.do('admin', 'pairing/approve', { requestId })
    expect(await event(cam, 'pairing')).toMatchObject({ status: 'approved', heartbeatSeconds: 15 })
    expect((await admin.next('limb/node/cam1/status')).text).toBe('offline')
    expect((await admin.next('limb/node/cam1/status')).text).toBe('online')
    cam.say('quit')
    expect((await admin.next('limb/node/cam1/status')).text).toBe('offline')
    expect(await cam.ended).toBe(0)

    await using again = device(app, 'cam1', apiKey)
    expect(await event(again, 'pairing')).toMatchObject({ status: 'approved' })
    expect((await admin.next('limb/node/cam1/status')).text).toBe('online')
  })

  it('a rejected device is told so, and refused from then on', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await using cam = device(app, 'cam1', keyOf('cam1'))
    const { requestId } = await event(cam, 'pairing')
    await admin.do('admin', 'pairing/reject', { requestId })
    expect(await event(cam, 'pairing')).toMatchObject({ status: 'rejected' })
    // paho reconnects by itself, as devices do.
    expect(await event(cam, 'disconnect')).toBeDefined()
    let { code } = await event(cam, 'connect')
    if (code === 0) ({ code } = await event(cam, 'connect'))
    expect(code).toBe(5)
  })

  it('a device comes in over WebSocket too, although paho calls the bridge itself its Origin', async () => {
    await using app = await startApp({ http: { enabled: true, port: 0 } })
    const port = String(app.bridge.http?.port)
    const env = { TRANSPORT: 'websockets' }
    await using cam = new Command('/usr/bin/python3', [SCRIPT, port, 'cam1', keyOf('cam1')], env)
    expect(await event(cam, 'connect')).toMatchObject({ code: 0 })
    expect(await event(cam, 'pairing')).toMatchObject({ status: 'pending' })
  })
})
