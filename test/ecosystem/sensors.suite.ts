import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, type TestContext, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { Command } from '../support/command.ts'
import { lacking } from '../support/needs.ts'
import type { ProgramName } from '../support/programs.ts'

/** Programs that only publish: they never register and send no heartbeat, so an operator makes them limbs. */

const START_MS = 60_000

/** Skips what Debian could not bring, in CI too. */
function needed(context: TestContext, name: ProgramName): void {
  const reason = lacking(name)
  if (reason !== undefined) context.skip(reason)
}

/** Makes a limb that shows itself by what it publishes, and returns its key. */
async function provisioned(app: TestApp, nodeId: string): Promise<string> {
  const admin = await app.admin()
  const { apiKey } = await admin.do('admin', 'node/provision', { nodeId })
  await admin.do('admin', 'node/set', { nodeId, presence: 'activity' })
  await admin.end()
  return apiKey
}

async function watching(app: TestApp, nodeId: string) {
  const admin = await app.admin()
  await admin.subscribe([`limb/node/${nodeId}/data/#`, `limb/node/${nodeId}/status`])
  return admin
}

test('readings of collectd come as data of its limb, which is online by them', async (context) => {
  needed(context, 'collectd')
  await using app = await startApp({}, { memory: true })
  const key = await provisioned(app, 'nas1')
  const admin = await watching(app, 'nas1')
  const file = join(app.folder, 'collectd.conf')
  const lines = [
    'Hostname "nas1"',
    'FQDNLookup false',
    `BaseDir "${app.folder}"`,
    `PIDFile "${app.folder}/collectd.pid"`,
    'PluginDir "/usr/lib/collectd"',
    'TypesDB "/usr/share/collectd/types.db"',
    'Interval 1',
    'LoadPlugin uptime',
    'LoadPlugin mqtt',
    '<Plugin mqtt>\n<Publish "limb">\nHost "127.0.0.1"\nQoS 1\nClientId "collectd-nas1"',
    `Port ${app.bridge.mqtt.port}\nUser "nas1"\nPassword "${key}"\nPrefix "limb/node/nas1/data"`,
    '</Publish>\n</Plugin>',
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  await using collectd = new Command('/usr/sbin/collectd', ['-f', '-C', file])
  await collectd.line(/entering read-loop/, START_MS)
  const { text } = await admin.next('limb/node/nas1/data/nas1/uptime/uptime', START_MS)
  // "seconds since 1970:value", and the NUL that collectd sends with it.
  expect(text).toMatch(/^\d+(\.\d+)?:\d+/)
  await admin.next(({ topic, text }) => topic.endsWith('/status') && text === 'online', START_MS)
})

test('what rtl_433 hears by radio comes as data of its limb, which is online by it', async (context) => {
  needed(context, 'rtl_433')
  await using app = await startApp({}, { memory: true })
  const key = await provisioned(app, 'radio1')
  const admin = await watching(app, 'radio1')
  const receiver = await fakeReceiver('101001010000111110100101')
  const { port } = receiver.address() as AddressInfo
  const to = `mqtt://127.0.0.1:${app.bridge.mqtt.port},user=radio1,pass=${key},retain=0,events=limb/node/radio1/data/events`
  const decoder = 'n=button,m=OOK_PWM,s=400,l=800,r=2000'
  const tuned = ['-d', `rtl_tcp:127.0.0.1:${port}`, '-s', '250k', '-R', '0', '-X', decoder]
  await using radio = new Command('rtl_433', [...tuned, '-F', to], { HOME: app.folder })
  await radio.line(/Publishing MQTT data/, START_MS)
  const { json } = await admin.next('limb/node/radio1/data/events', START_MS)
  expect(json).toMatchObject({ model: 'button', rows: [{ len: 24, data: 'a50fa5' }] })
  await admin.next(({ topic, text }) => topic.endsWith('/status') && text === 'online', START_MS)
})

/** Microseconds as bytes of samples: 250,000 a second, of two bytes each. */
const bytesOf = (us: number) => 2 * Math.round(us / 4)
const quiet = (us: number) => Buffer.alloc(bytesOf(us), 128)

function carrier(us: number): Buffer {
  return Buffer.from(
    Array.from({ length: bytesOf(us) }, (_, i) => {
      const phase = Math.floor(i / 2) * 0.6
      return 128 + 100 * (i % 2 === 0 ? Math.cos(phase) : Math.sin(phase))
    }),
  )
}

/** Pretends to be rtl_tcp, whose antenna hears a button now and then: a pulse of 0.4 ms is a 1, of 0.8 ms a 0. */
async function fakeReceiver(bits: string): Promise<Server> {
  const pulses = [...bits].flatMap((bit) =>
    bit === '1' ? [carrier(400), quiet(800)] : [carrier(800), quiet(400)],
  )
  const pressed = Buffer.concat([quiet(110_000), ...pulses, quiet(110_000)])
  const connections = new Set<Socket>()
  const server = createServer((socket) => {
    connections.add(socket)
    socket.on('error', () => undefined).resume()
    // The greeting names a tuner.
    socket.write(Buffer.from('RTL0\0\0\0\x05\0\0\0\x1d', 'latin1'))
    const timer = setInterval(() => socket.write(pressed), 250)
    socket.on('close', () => clearInterval(timer))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of connections) socket.destroy()
    server.close()
  })
  return server
}
