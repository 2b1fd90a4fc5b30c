import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { keyOf } from '../../support/app.ts'
import { type BridgeProcess, launchBridge } from '../../support/bridge-process.ts'
import { connect, type Loose, type TestClient } from '../../support/client.ts'
import { freePort } from '../../support/free-port.ts'
import { onePostgres } from '../../support/one-postgres.ts'
import { patience } from '../../support/patience.ts'
import { asOperator, startPostgres } from '../../support/postgres.ts'
import { ROBOT } from '../../support/worker.ts'

const MAIN = resolve(import.meta.dirname, '../../../src/main.ts')
const LIMIT = { timeout: patience(20_000), interval: 200 } as const

/** Both bridges of a pair are processes, as they are on two machines; they share nothing but the server. */
describe('two bridges on one PostgreSQL', { timeout: patience(90_000) }, () => {
  const postgres = onePostgres()
  let schemas = 0

  const newSchema = () => `pair_${schemas++}`

  /** `waits`: resolves with the place of its health when it says that it is a standby. */
  async function bridge(schema: string, lead: Record<string, unknown> = {}, server = postgres, httpPort = 0) {
    const folder = mkdtempSync(join(tmpdir(), 'limb-pair-'))
    mkdirSync(folder, { recursive: true })
    const secretFile = join(folder, 'store-secret')
    writeFileSync(secretFile, `${'s'.repeat(40)}\n`)
    const mqttPort = await freePort()
    const lines: string[] = []
    const waits = Promise.withResolvers<number>()
    const starting = launchBridge({
      folder,
      settings: {
        mqtt: { port: mqttPort },
        http: { enabled: true, port: httpPort },
        store: {
          kind: 'postgres',
          url: `postgres://limb@localhost/postgres?host=${server.server.host}`,
          schema,
          secretFile,
        },
        presence: { graceSeconds: 1 },
        lead,
      },
      hear(line) {
        lines.push(line)
        const said = line.startsWith('{')
          ? (JSON.parse(line) as { msg?: string; http?: { port: number } })
          : {}
        if (said.msg?.startsWith('this bridge is a standby') && said.http) waits.resolve(said.http.port)
      },
    })
    onTestFinished(async () => {
      starting.child.kill('SIGKILL')
      await starting.ended
      rmSync(folder, { recursive: true, force: true })
    })
    void starting.ended.then(({ code }) =>
      waits.reject(new Error(`it ended with ${code}:\n${lines.join('\n')}`)),
    )
    waits.promise.catch(() => undefined)
    return { ...starting, folder, mqttPort, lines, waits: waits.promise }
  }

  async function pair(lead: Record<string, unknown> = {}) {
    const schema = newSchema()
    const first = await bridge(schema, lead)
    const leader = await first.ready
    const second = await bridge(schema, lead)
    const health = await second.waits
    return { schema, first, leader, second, health }
  }

  const admin = async (to: Pick<BridgeProcess, 'control'>) => await client({ socket: to.control })
  async function client(
    to: { socket: string } | { port: number },
    options: object = {},
  ): Promise<TestClient> {
    const connected = await connect(to, options)
    onTestFinished(() => void connected.mqtt.end(true))
    return connected
  }

  async function pairLimb(to: BridgeProcess, nodeId: string, operator: TestClient): Promise<TestClient> {
    const device = await client({ port: to.mqtt.port }, { username: nodeId, password: keyOf(nodeId) })
    await device.subscribe(`limb/node/${nodeId}/pairing`)
    await device.publish(`limb/node/${nodeId}/register`, ROBOT)
    const { json } = await device.next(`limb/node/${nodeId}/pairing`)
    await operator.do('admin', 'pairing/approve', { requestId: json.requestId })
    await device.next(`limb/node/${nodeId}/pairing`)
    await device.publish(`limb/node/${nodeId}/heartbeat`, { status: 'online' })
    return device
  }

  const get = async (port: number, path: string): Promise<Response> =>
    await fetch(`http://127.0.0.1:${port}${path}`)
  const statusOf = (folder: string) =>
    spawnSync(process.execPath, [MAIN, 'status', '--json', '--config', join(folder, 'limb-bridge.yaml')], {
      encoding: 'utf8',
      cwd: folder,
    })

  test('the second one waits with its listeners closed, says who leads, and takes over what the first one acknowledged', async () => {
    const { schema, leader, second, health } = await pair()
    expect((await get(health, '/healthz')).status).toBe(200)
    const ready = await get(health, '/readyz')
    const said = (await ready.json()) as { ready: boolean; reasons: string[] }
    expect([ready.status, said.ready]).toEqual([503, false])
    // Strangers are not told of machines.
    expect(said.reasons).toEqual(['standby'])
    expect(await (await get(health, '/metrics')).text()).toMatch(/^limb_leads 0$/m)
    expect((await get(health, '/api/v1/openapi.json')).status).toBe(404)
    expect(await refusesTcp(second.mqttPort)).toBe('ECONNREFUSED')
    const waiting = statusOf(second.folder)
    expect([waiting.status, JSON.parse(waiting.stdout)]).toMatchObject([
      1,
      {
        standby: expect.stringMatching(
          /^standby; .+, process \d+ leads since \d{4}-.+; 0 limbs are held ready here$/,
        ),
        health: { ready: false },
      },
    ])
    const leading = statusOf(leader.folder)
    expect(JSON.parse(leading.stdout)).toMatchObject({
      health: { ready: true, lead: { name: expect.stringContaining(`process ${leader.pid}`) } },
    })
    expect(await (await get(leader.http?.port ?? 0, '/metrics')).text()).toMatch(/^limb_leads 1$/m)

    const operator = await admin(leader)
    const limb = await pairLimb(leader, 'cam-1', operator)
    await limb.subscribe('limb/node/cam-1/invoke')
    const gone = await pairLimb(leader, 'cam-2', operator)
    await operator.do('admin', 'node/revoke', { nodeId: 'cam-2' })
    gone.mqtt.end(true)
    const { password } = (await operator.do('admin', 'principal/add', {
      name: 'ann',
      role: 'agent',
    })) as Loose
    await operator.do('admin', 'policy/set', {
      principal: 'ann',
      nodeId: 'cam-1',
      capability: 'camera',
      level: 'free',
    })
    const ann = await client({ port: leader.mqtt.port }, { username: 'ann', password })
    await ann.subscribe('limb/principal/ann/response/#')
    await operator.do('admin', 'policy/set', {
      principal: 'ann',
      nodeId: 'cam-1',
      capability: 'arm',
      level: 'leased',
    })
    const { fence } = (await ann.do('ann', 'lease/acquire', { nodeId: 'cam-1', capability: 'arm' })) as Loose
    // A session that is stored, and a message that waits for it there.
    const stored = { username: 'ann', password, clientId: 'stored', clean: false, protocolVersion: 4 }
    const away = await client({ port: leader.mqtt.port }, stored)
    await away.subscribe('limb/node/cam-1/data/#')
    await away.end()
    await limb.publish('limb/node/cam-1/data/door', 'open')
    // A call that runs while the other one waits, and while one more begins to: it is nobody's to end.
    const call = {
      nodeId: 'cam-1',
      capability: 'camera',
      command: 'camera.snap',
      params: {},
      idempotencyKey: 'once',
    }
    await ann.publish('limb/principal/ann/request/invoke', { ...call, transaction: 't1' })
    await limb.next('limb/node/cam-1/invoke')
    const third = await bridge(schema)
    await third.waits
    expect(await asOperator(postgres.server.host, `SELECT state FROM ${schema}.invocations`)).toEqual([
      { state: 'running' },
    ])
    await operator.do('admin', 'policy/set', {
      principal: 'ann',
      nodeId: 'cam-1',
      capability: 'camera',
      level: 'denied',
    })
    third.child.kill('SIGKILL')
    await third.ended
    await expect
      .poll(async () => await (await get(health, '/metrics')).text(), LIMIT)
      .toMatch(/^limb_standby_limbs 1$/m)
    await leader.kill()

    const next = await second.ready
    expect(second.lines.join('\n')).toContain('the limbs were held ready')
    expect(await (await get(health, '/metrics')).text()).toMatch(/^limb_standby_limbs 0$/m)
    expect(next.http?.port).toBe(health)
    expect((await get(health, '/readyz')).status).toBe(200)
    expect(await (await get(health, '/metrics')).text()).toMatch(/^limb_leads 1$/m)
    const after = await admin(next)
    expect(await after.do('admin', 'node/list', {})).toMatchObject({
      items: [{ nodeId: 'cam-1', status: 'offline' }],
    })
    const back = await client({ port: next.mqtt.port }, { username: 'cam-1', password: keyOf('cam-1') })
    await back.publish('limb/node/cam-1/heartbeat', { status: 'online' })
    await expect
      .poll(async () => ((await after.do('admin', 'node/get', { nodeId: 'cam-1' })) as Loose).status, LIMIT)
      .toBe('online')
    expect(
      await after.do('admin', 'policy/explain', { principal: 'ann', nodeId: 'cam-1', capability: 'camera' }),
    ).toMatchObject({
      level: 'denied',
    })
    // Its key is that of a revoked limb: it comes in as nobody who is known.
    expect(await after.do('admin', 'node/why', { nodeId: 'cam-2' })).toMatchObject({ known: false })
    // The call began at the one that is gone: it ended there, and its key runs no second one.
    expect(await after.do('admin', 'invocation/list', {})).toMatchObject({
      items: [{ state: 'interrupted' }],
    })
    const annAgain = await client({ port: next.mqtt.port }, { username: 'ann', password })
    expect((await annAgain.ask('ann', 'invoke', call)).error).toMatchObject({ message: 'bridge restarted' })
    const lease = (await annAgain.do('ann', 'lease/acquire', { nodeId: 'cam-1', capability: 'arm' })) as Loose
    expect(lease.fence).toBeGreaterThan(fence)
    const awayAgain = await client({ port: next.mqtt.port }, stored)
    expect((await awayAgain.next('limb/node/cam-1/data/door')).text).toBe('open')
    expect(await after.do('admin', 'audit/verify', {})).toMatchObject({ whole: true })
    expect(await asOperator(postgres.server.host, `SELECT epoch::int FROM ${schema}.leader`)).toEqual([
      { epoch: 2 },
    ])
  })

  test('one that could not listen if it took over ends at once, and says why: it is no standby', async () => {
    const schema = newSchema()
    const first = await bridge(schema)
    const leader = await first.ready
    const second = await bridge(schema, {}, postgres, leader.http?.port)
    second.ready.catch(() => undefined)
    expect(await second.ended).toMatchObject({ code: 1 })
    expect(second.lines.join('\n')).toMatch(/cannot start: HTTP cannot listen: .* is in use/)
    expect((await get(leader.http?.port ?? 0, '/readyz')).status).toBe(200)
    expect(await asOperator(postgres.server.host, `SELECT epoch::int FROM ${schema}.leader`)).toEqual([
      { epoch: 1 },
    ])
  })

  test('a server that is away and comes back finds the same leader, and no limb has noticed', async () => {
    const server = startPostgres()
    onTestFinished(() => server.stop())
    const schema = newSchema()
    const first = await bridge(schema, { fenceSeconds: 600 }, server)
    const leader = await first.ready
    const second = await bridge(schema, { fenceSeconds: 600 }, server)
    await second.waits
    const operator = await admin(leader)
    const limb = await pairLimb(leader, 'cam-1', operator)
    await operator.subscribe('limb/node/cam-1/status')
    expect((await operator.next('limb/node/cam-1/status')).text).toBe('online')
    server.kill()
    await expect(operator.do('admin', 'principal/add', { name: 'ann', role: 'viewer' })).rejects.toThrow(
      /storage_unavailable/,
    )
    await limb.publish('limb/node/cam-1/heartbeat', { status: 'online' })
    // The leader is as good as any: the other one has the same server.
    expect((await get(leader.http?.port ?? 0, '/readyz')).status).toBe(200)
    expect(await operator.do('admin', 'bridge/health', {})).toMatchObject({
      ready: true,
      warnings: [expect.stringContaining('lead.fenceSeconds')],
    })
    await expect
      .poll(() => (JSON.parse(statusOf(second.folder).stdout) as Loose).standby, LIMIT)
      .toMatch(/^standby; who leads is not known/)
    server.start()
    await expect
      .poll(
        () =>
          operator.do('admin', 'principal/add', { name: 'ann', role: 'viewer' }).then(() => 'stored', String),
        LIMIT,
      )
      .toMatch(/stored|conflict/)
    await expect
      .poll(() => (JSON.parse(statusOf(second.folder).stdout) as Loose).standby, LIMIT)
      .toContain(`process ${leader.pid} leads`)
    expect(await asOperator(server.server.host, `SELECT epoch::int FROM ${schema}.leader`)).toEqual([
      { epoch: 1 },
    ])
    const seen = await operator.next('limb/node/cam-1/status', 500).catch(() => 'nothing')
    expect(seen).toBe('nothing')
  })

  test('one that does not get its lock again within lead.fenceSeconds ends with 3, and the other one leads when the server is back', async () => {
    const server = startPostgres()
    onTestFinished(() => server.stop())
    const schema = newSchema()
    const first = await bridge(schema, { fenceSeconds: 5 }, server)
    const leader = await first.ready
    const second = await bridge(schema, { fenceSeconds: 5 }, server)
    await second.waits
    const watcher = await admin(leader)
    await pairLimb(leader, 'cam-1', watcher)
    await watcher.subscribe('limb/#')
    server.kill()
    expect(await first.ended).toMatchObject({ code: 3 })
    expect(first.lines.join('\n')).toMatch(/could not be had again within 5 s \(lead\.fenceSeconds\)/)
    // Who is connected there belongs to the other one: it tells nobody that it ends.
    const told = await watcher
      .next(({ retain, text }) => !retain && /offline/.test(text), 500)
      .catch(() => 'nothing')
    expect(told).toBe('nothing')
    server.start()
    const next = await second.ready
    expect(await asOperator(server.server.host, `SELECT epoch::int FROM ${schema}.leader`)).toEqual([
      { epoch: 2 },
    ])
    const after = await admin(next)
    expect(await after.do('admin', 'node/list', {})).toMatchObject({ items: [{ nodeId: 'cam-1' }] })
  })

  test('a frozen leader is followed by the other one; when it wakes it stores nothing, tells nobody, and ends with 3', async () => {
    const { schema, first, leader, second } = await pair()
    const operator = await admin(leader)
    const limb = await pairLimb(leader, 'cam-1', operator)
    await operator.subscribe('limb/#')
    await operator.next('limb/node/cam-1/status')
    process.kill(leader.pid, 'SIGSTOP')
    // What waits in the sockets of the frozen one, and is not for it any more.
    const unheard = limb.mqtt
      .publishAsync('limb/node/cam-1/heartbeat', '{"status":"online"}', { qos: 1 })
      .then(
        () => 'acknowledged',
        () => 'nothing',
      )
    const next = await second.ready
    const after = await admin(next)
    await after.do('admin', 'principal/add', { name: 'ann', role: 'viewer' })
    const rows = () =>
      asOperator(
        postgres.server.host,
        `SELECT count(*)::int AS rows, max(seq)::int AS last FROM ${schema}.audit`,
      )
    const before = await rows()
    const told: string[] = []
    operator.mqtt.on('message', (topic, payload, packet) => {
      if (!packet.retain) told.push(`${topic} ${payload}`)
    })
    limb.mqtt.options.reconnectPeriod = 0
    process.kill(leader.pid, 'SIGCONT')
    expect(await first.ended).toMatchObject({ code: 3 })
    expect(told).toEqual([])
    limb.mqtt.end(true)
    expect(await unheard).toBe('nothing')
    expect(await rows()).toEqual(before)
    expect(await asOperator(postgres.server.host, `SELECT epoch::int FROM ${schema}.leader`)).toEqual([
      { epoch: 2 },
    ])
    expect(await after.do('admin', 'audit/verify', {})).toMatchObject({ whole: true })
  })
})

async function refusesTcp(port: number): Promise<string> {
  const socket = connectTcp({ host: '127.0.0.1', port })
  try {
    await once(socket, 'connect')
    return 'accepts'
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  } finally {
    socket.destroy()
  }
}
