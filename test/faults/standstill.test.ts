import { expect, test } from 'vitest'
import { patience } from '../support/patience.ts'
import { adminOf, limbOf, linesOf, provision, running, temporaryFolder } from './fixture.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('a process that stood still longer than every timeout takes no limb for gone that was heard meanwhile', {
  timeout: patience(120_000),
}, async () => {
  const bridge = await running({
    folder: temporaryFolder(),
    settings: { presence: { heartbeatSeconds: 1, timeoutSeconds: 5, graceSeconds: 5 } },
  })
  const admin = await adminOf(bridge)
  await provision(admin, 'alive', 'silent', 'returning')
  await admin.subscribe(['limb/node/+/status', 'limb/node/+/state'])
  const alive = await limbOf(bridge, 'alive')
  const silent = await limbOf(bridge, 'silent')
  // Gives the bridge up by itself, and knocks until it is let in again.
  const returning = await limbOf(bridge, 'returning', {
    keepalive: 2,
    reconnectPeriod: 300,
    connectTimeout: 60_000,
  })
  const closed = { alive: false }
  alive.mqtt.on('close', () => {
    closed.alive = true
  })
  // From the beginning: on a busy machine a round below may take as long as the timeout.
  const beat = setInterval(() => {
    alive.mqtt.publish('limb/node/alive/heartbeat', '', { qos: 0 })
    if (returning.mqtt.connected) returning.mqtt.publish('limb/node/returning/heartbeat', '', { qos: 0 })
  }, 500)
  for (const [client, nodeId] of [
    [alive, 'alive'],
    [silent, 'silent'],
    [returning, 'returning'],
  ] as const) {
    await client.publish(`limb/node/${nodeId}/heartbeat`)
    await admin.next(({ topic, text }) => topic === `limb/node/${nodeId}/status` && text === 'online')
  }
  try {
    process.kill(bridge.pid, 'SIGSTOP')
    await pause(10_000)
    process.kill(bridge.pid, 'SIGCONT')
    await admin.next(
      ({ topic, json }) =>
        topic === 'limb/node/silent/state' && json.status === 'offline' && json.reason === 'timeout',
    )
    await alive.settle()
    expect(
      admin.waiting.filter(
        ({ topic, text, retain }) => !retain && topic !== 'limb/node/silent/status' && text === 'offline',
      ),
    ).toEqual([])
    expect(await admin.do('admin', 'node/get', { nodeId: 'alive' })).toMatchObject({ status: 'online' })
    expect(closed.alive).toBe(false)
    // A busy machine may make it stand for a second more than once.
    const stood = linesOf(bridge, /stood still/).map((line) => Number(JSON.parse(line).lateMs))
    expect(stood.filter((lateMs) => lateMs > 4000)).toHaveLength(1)
  } finally {
    clearInterval(beat)
    process.kill(bridge.pid, 'SIGCONT')
  }
})
