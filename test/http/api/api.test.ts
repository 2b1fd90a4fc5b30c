import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../../support/app.ts'

/** The HTTP API against a whole bridge: the same verbs, rights and errors as over MQTT. */

const HTTP = { http: { enabled: true, port: 0 } }

interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: whatever the bridge answered
  readonly json: any
}

function urlOf(app: TestApp, path: string): string {
  return `http://127.0.0.1:${app.bridge.http?.port}${path}`
}

async function post(
  app: TestApp,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(urlOf(app, path), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    json: text === '' ? undefined : JSON.parse(text),
  }
}

const basic = (name: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
})
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

async function addPrincipal(app: TestApp, name: string, role: string): Promise<string> {
  const admin = await app.admin()
  const { password } = await admin.do('admin', 'principal/add', { name, role })
  await admin.end()
  return password
}

describe('POST /api/v1/<verb>', () => {
  it('answers the data of the verb to a principal that signs in with its password', async () => {
    await using app = await startApp(HTTP, { memory: true })
    await app.limb('cam1')
    const password = await addPrincipal(app, 'ann', 'viewer')
    const { status, json } = await post(app, '/api/v1/node/list', {}, basic('ann', password))
    expect(status).toBe(200)
    expect(json.items).toMatchObject([{ nodeId: 'cam1', status: 'offline' }])
  })

  it('answers a problem with code, path and a fitting status', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const password = await addPrincipal(app, 'ann', 'viewer')
    const signIn = basic('ann', password)
    const missing = await post(app, '/api/v1/node/get', { nodeId: 'nobody' }, signIn)
    expect(missing.headers.get('content-type')).toBe('application/problem+json')
    expect(missing).toMatchObject({ status: 404, json: { status: 404, code: 'not_found' } })
    expect(await post(app, '/api/v1/node/get', { nodeId: '' }, signIn)).toMatchObject({
      status: 400,
      json: { code: 'invalid_request', path: 'nodeId' },
    })
    expect(await post(app, '/api/v1/node/revoke', { nodeId: 'x' }, signIn)).toMatchObject({
      status: 403,
      json: { code: 'forbidden' },
    })
    expect(await post(app, '/api/v1/node/fly', {}, signIn)).toMatchObject({
      status: 404,
      json: { code: 'not_found', detail: expect.stringContaining('node/fly') },
    })
    expect(await post(app, '/api/v1/nodes/list', {}, signIn)).toMatchObject({
      status: 404,
      json: { detail: 'there is no verb "nodes/list"; did you mean node/list?' },
    })
    expect(await post(app, '/api/v1/node/list', '[1]', signIn)).toMatchObject({ status: 400 })
    expect(await post(app, '/api/v1/node/list', '{', signIn)).toMatchObject({ status: 400 })
  })

  it('lets nobody in without a sign-in, and says how', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const password = await addPrincipal(app, 'ann', 'viewer')
    for (const headers of [
      {},
      basic('ann', 'wrong-password'),
      basic('nobody', password),
      bearer('x'),
      bearer(password),
    ]) {
      const { status, json, headers: sent } = await post(app, '/api/v1/node/list', {}, headers)
      expect(status).toBe(401)
      expect(json.code).toBe('unauthorized')
      expect(sent.get('www-authenticate')).toContain('Bearer')
    }
  })

  it('takes a bearer that is no token for nobody’s, whoever is named as the door is', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const secret = await addPrincipal(app, 'http', 'viewer')
    await app.limb('cam1')
    for (const path of ['/api/v1/node/list', '/console/session'])
      for (const text of [secret, keyOf('cam1'), 'x'])
        expect((await post(app, path, {}, bearer(text))).status, `${path} ${text}`).toBeGreaterThan(400)
    for (let i = 0; i < 12; i++) await post(app, '/api/v1/node/list', {}, bearer('wrong'))
    expect((await post(app, '/api/v1/node/list', {}, bearer('wrong'))).status).toBe(429)
    expect((await post(app, '/api/v1/node/list', {}, basic('http', secret))).status).toBe(200)
    const told = app.logLines.filter(({ msg }) => String(msg).includes('sign-in refused'))
    expect(new Set(told.map(({ name }) => name))).toEqual(new Set(['-']))
    const admin = await app.admin()
    expect((await admin.do('admin', 'node/why', { nodeId: 'http' })).lastRefusedSignIn).toBeUndefined()
  })

  it('refuses other methods and other bodies in the same form', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const password = await addPrincipal(app, 'ann', 'viewer')
    const get = await fetch(urlOf(app, '/api/v1/node/list'), { headers: basic('ann', password) })
    expect(get.status).toBe(405)
    expect(get.headers.get('allow')).toBe('POST')
    const form = await post(app, '/api/v1/node/list', 'a=b', {
      ...basic('ann', password),
      'content-type': 'application/x-www-form-urlencoded',
    })
    expect(form).toMatchObject({ status: 415, json: { code: 'invalid_request' } })
  })

  it('is a problem below /api/, whatever is asked for and whatever is wrong with it', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const ask = async (method: string, path: string, body?: string) => {
      const headers = { ...signIn, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
      const response = await fetch(urlOf(app, path), {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
      })
      expect.soft(response.headers.get('content-type'), path).toBe('application/problem+json')
      const problem = (await response.json()) as Record<string, unknown>
      expect.soft(problem, path).toMatchObject({ status: response.status, code: expect.any(String) })
      return [response.status, response.headers.get('allow'), problem.path ?? null]
    }
    expect(await ask('POST', '/api/v1/%zz', '{}')).toEqual([400, null, null])
    expect(await ask('POST', '/api/v1/node/list?limit=1&after=x', '{}')).toEqual([400, null, 'limit'])
    expect(await ask('GET', '/api/limb/register')).toEqual([405, 'POST', null])
    expect(await ask('POST', '/api/limb/invoke', '{}')).toEqual([405, 'GET', null])
    expect(await ask('POST', '/api/limb/nothing', '{}')).toEqual([404, null, null])
    expect(await ask('GET', '/api/v2/node/list')).toEqual([404, null, null])
    expect(await ask('POST', '/api/limb/register', `{"a":"${'b'.repeat(70_000)}"}`)).toEqual([
      413,
      null,
      null,
    ])
    const short = JSON.stringify({
      nodeId: 'h1',
      apiKey: 'short',
      displayName: 'H',
      platform: 'p',
      capabilities: [],
    })
    const device = await post(app, '/api/limb/register', short)
    expect(device).toMatchObject({ status: 400, json: { code: 'invalid_request', path: 'apiKey' } })
  })

  it('runs an invocation on a limb and answers with its result', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const limb = await app.limb('cam1', {
      ...REGISTRATION,
      capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'free' }],
    })
    await limb.subscribe('limb/node/cam1/invoke')
    await limb.publish('limb/node/cam1/heartbeat', {})
    const password = await addPrincipal(app, 'bot', 'agent')
    const asked = post(
      app,
      '/api/v1/invoke',
      { nodeId: 'cam1', command: 'camera.snap' },
      basic('bot', password),
    )
    const { json: invocation } = await limb.next('limb/node/cam1/invoke')
    await limb.publish('limb/node/cam1/result', {
      invocationId: invocation.invocationId,
      success: true,
      data: { ok: 1 },
    })
    expect(await asked).toMatchObject({ status: 200, json: { nodeId: 'cam1', data: { ok: 1 } } })
  })

  it('refuses a page of another origin, and lets one in that is allowed', async () => {
    await using app = await startApp(
      { http: { ...HTTP.http, allowedOrigins: ['https://dash.example'] } },
      { memory: true },
    )
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    expect(
      await post(app, '/api/v1/node/list', {}, { ...signIn, origin: 'https://evil.example' }),
    ).toMatchObject({
      status: 403,
    })
    const allowed = await post(app, '/api/v1/node/list', {}, { ...signIn, origin: 'https://dash.example' })
    expect(allowed.status).toBe(200)
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://dash.example')
    const asked = await fetch(urlOf(app, '/api/v1/node/list'), {
      method: 'OPTIONS',
      headers: { origin: 'https://dash.example', 'access-control-request-method': 'POST' },
    })
    expect(asked.status).toBe(204)
    expect(asked.headers.get('access-control-allow-headers')).toContain('authorization')
  })

  it('is not there when it is switched off', async () => {
    await using app = await startApp({ http: { ...HTTP.http, api: false } }, { memory: true })
    expect((await fetch(urlOf(app, '/api/v1/openapi.json'))).status).toBe(404)
  })
})

describe('tokens', () => {
  it('sign a principal in over HTTP and MQTT, are told once and stored as a hash', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const password = await addPrincipal(app, 'ann', 'operator')
    const made = await post(
      app,
      '/api/v1/token/add',
      { name: 'phone', role: 'viewer' },
      basic('ann', password),
    )
    expect(made.json).toMatchObject({
      name: 'phone',
      principal: 'ann',
      role: 'viewer',
      token: expect.stringMatching(/^lbt_\w{36}$/),
    })
    const { token, tokenId } = made.json
    expect((await post(app, '/api/v1/node/list', {}, bearer(token))).status).toBe(200)
    expect((await post(app, '/api/v1/pairing/permit', { seconds: 5 }, bearer(token))).json.code).toBe(
      'forbidden',
    )
    const session = await app.principal('ann', token)
    expect((await session.do('ann', 'node/list')).items).toEqual([])
    const { json } = await post(app, '/api/v1/token/list', {}, bearer(token))
    expect(json.items).toMatchObject([{ tokenId, lastAddress: '127.0.0.1', lastUsedAt: expect.any(String) }])
    expect(JSON.stringify(json)).not.toContain(token)
    expect(JSON.stringify(app.logLines)).not.toContain(token)
  })

  it('end at once when they are removed, with the sessions that they opened', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'operator'))
    const { json: made } = await post(app, '/api/v1/token/add', { name: 'phone' }, signIn)
    const session = await app.principal('ann', made.token)
    const closed = new Promise<void>((resolve) => session.mqtt.once('close', () => resolve()))
    session.mqtt.options.reconnectPeriod = 0
    expect((await post(app, '/api/v1/token/remove', { tokenId: made.tokenId }, signIn)).status).toBe(200)
    await closed
    expect((await post(app, '/api/v1/node/list', {}, bearer(made.token))).status).toBe(401)
  })

  it('end with their time, and never do more than their principal', async () => {
    await using app = await startApp(HTTP, { fakeClock: true, memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    expect((await post(app, '/api/v1/token/add', { name: 'x', role: 'admin' }, signIn)).json).toMatchObject({
      code: 'forbidden',
      path: 'role',
    })
    const { json: made } = await post(app, '/api/v1/token/add', { name: 'x', expiresInDays: 1 }, signIn)
    expect((await post(app, '/api/v1/node/list', {}, bearer(made.token))).status).toBe(200)
    app.clock.advance(86_400_001)
    expect((await post(app, '/api/v1/node/list', {}, bearer(made.token))).status).toBe(401)
  })

  it('of others are nobody’s business but an admin’s', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const ann = basic('ann', await addPrincipal(app, 'ann', 'operator'))
    const eve = basic('eve', await addPrincipal(app, 'eve', 'operator'))
    const { json: made } = await post(app, '/api/v1/token/add', { name: 'phone' }, ann)
    expect((await post(app, '/api/v1/token/remove', { tokenId: made.tokenId }, eve)).json.code).toBe(
      'not_found',
    )
    expect((await post(app, '/api/v1/token/list', { principal: 'ann' }, eve)).json.code).toBe('forbidden')
    expect((await post(app, '/api/v1/token/add', { name: 'x', principal: 'ann' }, eve)).json.code).toBe(
      'forbidden',
    )
    expect((await post(app, '/api/v1/token/list', {}, eve)).json.items).toEqual([])
    const admin = await app.admin()
    expect((await admin.do('admin', 'token/list')).items).toHaveLength(1)
    expect(await admin.do('admin', 'token/remove', { tokenId: made.tokenId })).toEqual({
      tokenId: made.tokenId,
    })
  })

  it('go with their principal', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const ann = basic('ann', await addPrincipal(app, 'ann', 'operator'))
    const { json: made } = await post(app, '/api/v1/token/add', { name: 'phone' }, ann)
    const admin = await app.admin()
    await admin.do('admin', 'principal/remove', { name: 'ann' })
    await addPrincipal(app, 'ann', 'admin')
    expect((await post(app, '/api/v1/node/list', {}, bearer(made.token))).status).toBe(401)
  })
})

describe('GET /api/v1/events', () => {
  it('tells first what is retained, then what happens, and after a pause what was missed', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const limb = await app.limb('cam1')
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const events = await follow(app, signIn)
    const retained = await events.until(({ topic }) => topic === 'limb/node/cam1/status')
    expect(retained).toMatchObject({ retain: true, payload: 'offline' })
    await limb.publish('limb/node/cam1/heartbeat', {})
    await events.until(({ topic, payload }) => topic === 'limb/node/cam1/status' && payload === 'online')
    const lastId = events.lastId
    await events.end()
    await limb.publish('limb/node/cam1/deregister', {})
    const again = await follow(app, { ...signIn, 'last-event-id': lastId })
    const missed = await again.until(
      ({ topic, payload }) => topic === 'limb/node/cam1/status' && payload === 'offline',
    )
    expect(missed.retain).toBe(true)
    expect(again.seen.some(({ topic }) => topic === 'limb/bridge/info' && again.seen.length === 1)).toBe(
      false,
    )
    await again.end()
  })

  it('tells all that is retained anew to a reader that left before it had all, and what it missed', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const limb = await app.limb('cam1')
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const events = await follow(app, signIn)
    await events.until(() => true)
    const lastId = events.lastId
    await events.end()
    await limb.publish('limb/node/cam1/heartbeat', {})
    const again = await follow(app, { ...signIn, 'last-event-id': lastId })
    await again.until(({ topic }) => topic.startsWith('limb/bridge/event/'))
    expect(again.seen.map(({ topic }) => topic)).toEqual(
      expect.arrayContaining(['limb/bridge/info', 'limb/node/cam1/status', 'limb/node/cam1/state']),
    )
    await again.end()
    const whole = await follow(app, { ...signIn, 'last-event-id': again.lastId })
    await limb.publish('limb/node/cam1/deregister', {})
    await whole.until(({ payload }) => payload === 'offline')
    expect(whole.seen.map(({ topic }) => topic)).not.toContain('limb/bridge/info')
    await whole.end()
  })

  it('ends with the token that opened it', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const { json: made } = await post(app, '/api/v1/token/add', { name: 'wall' }, signIn)
    const events = await follow(app, bearer(made.token))
    await events.until(({ topic }) => topic === 'limb/bridge/status')
    await post(app, '/api/v1/token/remove', { tokenId: made.tokenId }, signIn)
    await expect(events.until(({ topic }) => topic === 'never')).rejects.toThrow()
    expect(events.seen.some(({ topic }) => topic === 'limb/bridge/event/token_removed')).toBe(false)
    const other = await follow(app, signIn)
    await other.until(({ topic }) => topic === 'limb/bridge/status')
    await other.end()
  })

  it('ends at once when the password that opened it ends, though nothing is published', async () => {
    await using app = await startApp(HTTP, { fakeClock: true, memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const events = await follow(app, signIn)
    await events.until(({ topic }) => topic === 'limb/bridge/status')
    const admin = await app.admin()
    await admin.do('admin', 'principal/set-password', { name: 'ann' })
    await expect(events.until(({ topic }) => topic === 'never')).rejects.toThrow()
  })

  it('ends with the time of its token, as an MQTT session does', async () => {
    await using app = await startApp(HTTP, { fakeClock: true, memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const { json: made } = await post(app, '/api/v1/token/add', { name: 'x', expiresInDays: 1 }, signIn)
    const events = await follow(app, bearer(made.token))
    await events.until(({ topic }) => topic === 'limb/bridge/status')
    const session = await app.principal('ann', made.token)
    let open = 2
    session.mqtt.once('close', () => open--)
    void events.until(({ topic }) => topic === 'never').catch(() => open--)
    app.clock.advance(86_400_001)
    // What looks at it comes round every few seconds.
    await expect
      .poll(() => {
        app.clock.advance(5000)
        return open
      })
      .toBe(0)
  })

  it('goes on when another token of its principal is removed', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const { json: mine } = await post(app, '/api/v1/token/add', { name: 'wall' }, signIn)
    const { json: other } = await post(app, '/api/v1/token/add', { name: 'phone' }, signIn)
    const events = await follow(app, bearer(mine.token))
    await events.until(({ topic }) => topic === 'limb/bridge/status')
    await post(app, '/api/v1/token/remove', { tokenId: other.tokenId }, signIn)
    const limb = await app.limb('cam1')
    await limb.publish('limb/node/cam1/heartbeat', {})
    await events.until(({ topic, payload }) => topic === 'limb/node/cam1/status' && payload === 'online')
    await events.end()
  })

  it('gives its place back when a client has gone before its password was looked at', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const ask = `GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${signIn.authorization}\r\n\r\n`
    // A principal has 16 places, and a password that comes for the first time takes a while.
    const sockets = Array.from({ length: 20 }, () => connect(app.bridge.http?.port ?? 0, '127.0.0.1'))
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.write(ask, resolve))))
    for (const socket of sockets) socket.destroy()
    await expect
      .poll(async () => {
        const response = await fetch(urlOf(app, '/api/v1/events'), { headers: signIn })
        await response.body?.cancel()
        return response.status
      })
      .toBe(200)
  })

  it('shows no response to anybody, and wants a sign-in', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const signIn = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    expect((await fetch(urlOf(app, '/api/v1/events'))).status).toBe(401)
    const events = await follow(app, signIn)
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'bob', role: 'viewer' })
    await events.until(({ topic }) => topic === 'limb/bridge/event/principal_added')
    expect(events.seen.filter(({ topic }) => String(topic).includes('/principal/'))).toEqual([])
    await events.end()
  })
})

describe('limbs over HTTP', () => {
  it('are paired, heard, invoked and gone like any other', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const admin = await app.admin()
    const key = keyOf('cam9')
    const registration = {
      nodeId: 'cam9',
      ...REGISTRATION,
      capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'free' }],
    }
    const asked = await post(app, '/api/limb/register', registration, bearer(key))
    expect(asked).toMatchObject({
      status: 200,
      json: { status: 'pending', requestId: expect.any(String), code: expect.any(String) },
    })
    expect((await post(app, '/api/limb/heartbeat', { nodeId: 'cam9' }, bearer(key))).status).toBe(403)
    await admin.do('admin', 'pairing/approve', { requestId: asked.json.requestId })
    expect((await post(app, '/api/limb/register', registration, bearer(key))).json).toMatchObject({
      status: 'approved',
    })
    expect(
      (await post(app, '/api/limb/heartbeat', { nodeId: 'cam9', metrics: { temperature: 21 } }, bearer(key)))
        .json,
    ).toEqual({ status: 'ok' })
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam9' })).toMatchObject({ status: 'online' })

    const polled = fetch(urlOf(app, '/api/limb/invoke?nodeId=cam9&wait=20'), { headers: bearer(key) })
    const invoked = askUntilReachable(admin)
    const invocation = (await (await polled).json()) as { invocationId: string; command: string }
    expect(invocation.command).toBe('camera.snap')
    await post(
      app,
      '/api/limb/result',
      { nodeId: 'cam9', invocationId: invocation.invocationId, success: true, data: 7 },
      bearer(key),
    )
    expect(await invoked).toMatchObject({ data: 7 })

    await post(app, '/api/limb/deregister', { nodeId: 'cam9' }, bearer(key))
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam9' })).toMatchObject({ status: 'offline' })

    // One that waits for it comes with its next poll.
    const waits = admin.ask('admin', 'invoke', {
      nodeId: 'cam9',
      command: 'camera.snap',
      offlineWaitSeconds: 60,
    })
    await expect
      .poll(async () => (await admin.do('admin', 'invocation/list', { state: 'queued' })).items)
      .toMatchObject([{ awaitsLimbUntil: expect.any(String) }])
    await post(app, '/api/limb/heartbeat', { nodeId: 'cam9' }, bearer(key))
    const next = await fetch(urlOf(app, '/api/limb/invoke?nodeId=cam9&wait=20'), { headers: bearer(key) })
    const { invocationId } = (await next.json()) as { invocationId: string }
    await post(app, '/api/limb/result', { nodeId: 'cam9', invocationId, success: true }, bearer(key))
    expect((await waits).ok).toBe(true)
    expect((await post(app, '/api/limb/heartbeat', { nodeId: 'cam9' }, bearer('x'.repeat(24)))).status).toBe(
      403,
    )
  })

  it('may send nodeId and key in the body, and are told the key that the bridge made', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const admin = await app.admin()
    const asked = await post(app, '/api/limb/register', { nodeId: 'old1', ...REGISTRATION })
    expect(asked.json).toMatchObject({ status: 'pending', apiKey: expect.any(String) })
    const { apiKey, requestId } = asked.json
    await admin.do('admin', 'pairing/approve', { requestId })
    const beat = await post(app, '/api/limb/heartbeat', { nodeId: 'old1', apiKey })
    expect(beat).toMatchObject({ status: 200, json: { status: 'ok' } })
    expect(await admin.do('admin', 'node/get', { nodeId: 'old1' })).toMatchObject({ status: 'online' })
  })

  it('are told what is wrong with what they send', async () => {
    await using app = await startApp(HTTP, { memory: true })
    expect((await post(app, '/api/limb/register', { nodeId: 'a b' })).json).toMatchObject({
      code: 'invalid_request',
      path: 'nodeId',
    })
    expect(
      (await post(app, '/api/limb/register', { nodeId: 'cam1', displayName: 4 }, bearer(keyOf('cam1')))).json,
    ).toMatchObject({
      code: 'invalid_request',
      path: 'displayName',
    })
    expect(
      (await fetch(urlOf(app, '/api/limb/invoke?nodeId=cam1&wait=900'), { headers: bearer(keyOf('cam1')) }))
        .status,
    ).toBe(400)
  })
})

// biome-ignore lint/suspicious/noExplicitAny: a test client's answers
async function askUntilReachable(admin: any): Promise<unknown> {
  for (;;) {
    const answer = await admin.ask('admin', 'invoke', { nodeId: 'cam9', command: 'camera.snap' })
    if (answer.error?.code !== 'node_offline') return answer.data
  }
}

interface Followed {
  readonly topic: string
  readonly retain: boolean
  readonly payload: unknown
}

async function follow(app: TestApp, headers: Record<string, string>) {
  const stop = new AbortController()
  const response = await fetch(urlOf(app, '/api/v1/events'), { headers, signal: stop.signal })
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  const seen: Followed[] = []
  let text = ''
  let lastId = ''
  return {
    seen,
    get lastId() {
      return lastId
    },
    async until(test: (event: Followed) => boolean): Promise<Followed> {
      for (;;) {
        const end = text.indexOf('\n\n')
        if (end < 0) {
          const { value, done } = await reader.read()
          if (done) throw new Error('the stream ended')
          text += Buffer.from(value).toString()
          continue
        }
        const lines = text.slice(0, end).split('\n')
        text = text.slice(end + 2)
        lastId = lines.find((line) => line.startsWith('id: '))?.slice(4) ?? lastId
        const data = lines.find((line) => line.startsWith('data: '))
        if (data === undefined || !lines.includes('event: message')) continue
        const event = JSON.parse(data.slice(6)) as Followed
        seen.push(event)
        if (test(event)) return event
      }
    },
    async end() {
      stop.abort()
      await reader.cancel().catch(() => undefined)
    },
  }
}

describe('what one principal makes the bridge hold over HTTP', () => {
  it('is bounded for requests that are not whole, over the API and /mcp together, and others go on', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const ann = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const bob = basic('bob', await addPrincipal(app, 'bob', 'viewer'))
    const begin = (path: string) => {
      const socket = connect(app.bridge.http?.port ?? 0, '127.0.0.1').on('error', () => undefined)
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${ann.authorization}\r\n` +
          'Content-Type: application/json\r\nContent-Length: 1200000\r\n\r\n{',
      )
      return socket
    }
    const sockets = Array.from({ length: 30 }, (_, i) => begin(i % 2 ? '/mcp' : '/api/v1/node/list'))
    const large = { pad: 'x'.repeat(1_250_000) }
    await expect.poll(async () => (await post(app, '/api/v1/node/list', large, ann)).status).toBe(429)
    const metrics = await (await fetch(urlOf(app, '/metrics'))).text()
    const held = Number(/^limb_http_held_bytes (\d+)$/m.exec(metrics)?.[1])
    expect(held).toBeGreaterThan(10_000_000)
    expect(held).toBeLessThanOrEqual(16 * 1_048_576)
    expect((await post(app, '/api/v1/node/list', {}, ann)).status).toBe(200)
    // A parameter that there is not is what is wrong with it.
    expect((await post(app, '/api/v1/node/list', large, bob)).status).toBe(400)
    for (const socket of sockets) socket.destroy()
    await expect.poll(async () => (await post(app, '/api/v1/node/list', large, ann)).status).toBe(400)
  })

  it('ends event streams that are not read, counts them, and names who it was', async () => {
    await using app = await startApp(HTTP, { memory: true })
    const ann = basic('ann', await addPrincipal(app, 'ann', 'viewer'))
    const limb = await app.limb('cam1')
    const socket = connect(app.bridge.http?.port ?? 0, '127.0.0.1').on('error', () => undefined)
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.write(
      `GET /api/v1/events?data=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${ann.authorization}\r\n\r\n`,
    )
    await new Promise((resolve) => socket.once('data', resolve))
    socket.pause()
    const named = () => app.logLines.some(({ msg }) => String(msg).startsWith('http: ann does not read'))
    while (!named()) await limb.publish('limb/node/cam1/data/frame', Buffer.alloc(1_000_000, 'x'))
    const metrics = await (await fetch(urlOf(app, '/metrics'))).text()
    expect(metrics).toMatch(/^limb_http_connections_ended_total 1$/m)
    socket.resume()
    await closed
  })
})

describe('GET /api/v1/backups/<file name>', () => {
  it('sends a backup to an admin, and nothing else to anybody', async () => {
    await using app = await startApp(HTTP)
    const [boss, ops] = [await addPrincipal(app, 'boss', 'admin'), await addPrincipal(app, 'ops', 'operator')]
    const { json } = await post(app, '/api/v1/backup/create', {}, basic('boss', boss))
    const name = String(json.file).split('/').pop()
    const get = async (path: string, headers: Record<string, string>) =>
      await fetch(urlOf(app, path), { headers })
    const file = await get(`/api/v1/backups/${name}`, basic('boss', boss))
    expect(file.status).toBe(200)
    const bytes = Buffer.from(await file.arrayBuffer())
    expect(bytes.length).toBe(json.bytes)
    expect(bytes.subarray(0, 15).toString()).toBe('SQLite format 3')
    expect((await get(`/api/v1/backups/${name}`, basic('ops', ops))).status).toBe(403)
    expect((await get(`/api/v1/backups/${name}`, {})).status).toBe(401)
    for (const other of ['limb.sqlite', '..%2Flimb.sqlite', '%2e%2e%2flimb.sqlite'])
      expect((await get(`/api/v1/backups/${other}`, basic('boss', boss))).status).toBe(404)
  })
})

describe('the verbs about the machine', () => {
  it('check it and show the newest lines of the log, to an admin alone', async () => {
    await using app = await startApp(HTTP)
    const [boss, ops] = [await addPrincipal(app, 'boss', 'admin'), await addPrincipal(app, 'ops', 'operator')]
    await app.limb('cam1')
    const checks = await post(app, '/api/v1/bridge/doctor', {}, basic('boss', boss))
    expect(checks.json.items).toContainEqual(expect.objectContaining({ what: 'backup', level: 'warning' }))
    const log = await post(app, '/api/v1/bridge/log', { nodeId: 'cam1', level: 'info' }, basic('boss', boss))
    expect(log.json.items.length).toBeGreaterThan(0)
    expect(log.json.items[0]).toMatchObject({
      level: expect.stringMatching(/info|warn/),
      fields: { nodeId: 'cam1' },
    })
    for (const verb of ['bridge/doctor', 'bridge/log', 'backup/list'])
      expect((await post(app, `/api/v1/${verb}`, {}, basic('ops', ops))).status).toBe(403)
  })
})
