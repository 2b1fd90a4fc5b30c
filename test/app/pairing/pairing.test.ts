import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'

const pairing = (nodeId: string) => `limb/node/${nodeId}/pairing`
const register = (nodeId: string) => `limb/node/${nodeId}/register`

describe('a candidate', () => {
  it('with its own key gets a pending request, and the same one when it registers again', async () => {
    await using app = await startApp({}, { memory: true })
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe(pairing('cam1'))
    await device.publish(register('cam1'), REGISTRATION)
    const first = (await device.next(pairing('cam1'))).json
    expect(first).toMatchObject({
      status: 'pending',
      code: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{8}$/),
    })
    expect(first).not.toHaveProperty('apiKey')
    await device.publish(register('cam1'), REGISTRATION)
    const second = (await device.next(pairing('cam1'))).json
    expect(second).toMatchObject({ requestId: first.requestId, code: first.code })
  })

  it('without a key is told one once, and can sign in with it from then on', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1')
    await device.subscribe(pairing('cam1'))
    await device.publish(register('cam1'), REGISTRATION)
    const { apiKey, requestId } = (await device.next(pairing('cam1'))).json
    expect(apiKey).toMatch(/^[A-Za-z0-9_-]{43}$/)
    await device.publish(register('cam1'), REGISTRATION)
    expect((await device.next(pairing('cam1'))).json).toEqual(expect.not.objectContaining({ apiKey }))
    await device.end()

    const again = await app.device('cam1', apiKey)
    await again.subscribe(pairing('cam1'))
    await again.publish(register('cam1'), REGISTRATION)
    expect((await again.next(pairing('cam1'))).json).toMatchObject({ status: 'pending', requestId })
    await admin.do('admin', 'pairing/approve', { requestId })
    expect((await again.next(pairing('cam1'))).json.status).toBe('approved')
  })

  it('that registers before it subscribes is still told, its key included', async () => {
    await using app = await startApp({}, { memory: true })
    const device = await app.device('cam1')
    await device.publish(register('cam1'), REGISTRATION)
    await device.subscribe(pairing('cam1'))
    expect((await device.next(pairing('cam1'))).json).toMatchObject({
      status: 'pending',
      apiKey: expect.any(String),
    })
  })

  it('is told what is wrong with its registration, by the path of the key, and nothing is stored', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe(pairing('cam1'))
    const wrong = {
      ...REGISTRATION,
      capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'loose' }],
    }
    await device.publish(register('cam1'), wrong)
    expect((await device.next(pairing('cam1'))).json).toEqual({
      status: 'error',
      error: { code: 'invalid_request', message: expect.any(String), path: 'capabilities[0].authLevel' },
    })
    expect((await admin.do('admin', 'pairing/list')).items).toEqual([])
  })

  it('is told that its key is too short', async () => {
    await using app = await startApp({}, { memory: true })
    const device = await app.device('cam1', 'short')
    await device.subscribe(pairing('cam1'))
    await device.publish(register('cam1'), REGISTRATION)
    expect((await device.next(pairing('cam1'))).json.error).toMatchObject({
      code: 'invalid_request',
      path: 'password',
    })
  })

  it('is promoted in place when it is approved: no reconnect, offline first, online at its heartbeat', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/node/+/status')
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe(pairing('cam1'))
    await device.publish(register('cam1'), REGISTRATION)
    const { requestId } = (await device.next(pairing('cam1'))).json
    await admin.do('admin', 'pairing/approve', { requestId, revision: 1 })
    expect((await device.next(pairing('cam1'))).json).toEqual({
      status: 'approved',
      heartbeatSeconds: 15,
      timeoutSeconds: 45,
      capabilities: REGISTRATION.capabilities,
    })
    expect((await admin.next('limb/node/cam1/status')).text).toBe('offline')
    await device.publish('limb/node/cam1/heartbeat')
    expect((await admin.next('limb/node/cam1/status')).text).toBe('online')
  })

  it('is told of its rejection once, is cut off, and may not even connect with that key', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe(pairing('cam1'))
    await device.publish(register('cam1'), REGISTRATION)
    const { requestId } = (await device.next(pairing('cam1'))).json
    const ended = device.ended()
    await admin.do('admin', 'pairing/reject', { requestId })
    expect((await device.next(pairing('cam1'))).json).toEqual({ status: 'rejected' })
    await ended
    await expect(app.device('cam1', keyOf('cam1'))).rejects.toMatchObject({ code: 5 })
    // Another key is another claimant.
    await app.device('cam1', keyOf('other'))
  })
})

describe('two claims to one name', () => {
  it('are two requests in conflict, and approving one rejects the other', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const [one, two] = [await app.device('cam1', keyOf('one')), await app.device('cam1', keyOf('two'))]
    for (const device of [one, two]) {
      await device.subscribe(pairing('cam1'))
      await device.publish(register('cam1'), REGISTRATION)
    }
    const first = (await one.next(pairing('cam1'))).json
    const second = (await two.next(pairing('cam1'))).json
    expect(first.requestId).not.toBe(second.requestId)
    const { items } = await admin.do('admin', 'pairing/list')
    expect(items.map((item: { conflict: boolean }) => item.conflict)).toEqual([true, true])

    const ended = one.ended()
    await admin.do('admin', 'pairing/approve', { requestId: second.requestId })
    expect((await two.next(pairing('cam1'))).json.status).toBe('approved')
    expect((await one.next(pairing('cam1'))).json.status).toBe('rejected')
    await ended
    expect((await admin.do('admin', 'pairing/list')).items).toEqual([])
  })

  it('leaves the paired device what it is until the other claim is approved, then replaces its key and keeps its name', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const old = await app.limb('cam1')
    await admin.do('admin', 'node/rename', { nodeId: 'cam1', displayName: 'Porch' })
    await old.publish('limb/node/cam1/heartbeat')

    const claimant = await app.device('cam1', keyOf('new'))
    await claimant.subscribe(pairing('cam1'))
    await claimant.publish(register('cam1'), { ...REGISTRATION, displayName: 'Another name' })
    const { requestId } = (await claimant.next(pairing('cam1'))).json
    const pending = (await admin.do('admin', 'pairing/list')).items[0]
    expect(pending).toMatchObject({ kind: 'replace', conflict: false })
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')

    const ended = old.ended()
    await admin.do('admin', 'pairing/approve', { requestId })
    await ended
    expect((await claimant.next(pairing('cam1'))).json.status).toBe('approved')
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject({ displayName: 'Porch' })
    const stranger = await app.device('cam1', keyOf('cam1'))
    await stranger.subscribe(pairing('cam1'))
    await stranger.publish(register('cam1'), REGISTRATION)
    expect((await stranger.next(pairing('cam1'))).json.status).toBe('pending')
  })
})

describe('the log', () => {
  it('says of a claim whether the limb is paired already and whether others claim it, and which code to compare', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('cam1')
    const asked: { requestId: string; code: string }[] = []
    for (const key of ['new', 'rival']) {
      const claimant = await app.device('cam1', keyOf(key))
      await claimant.subscribe(pairing('cam1'))
      await claimant.publish(register('cam1'), REGISTRATION)
      asked.push((await claimant.next(pairing('cam1'))).json)
    }
    const [one, two] = asked
    const approve = (of: { requestId: string } | undefined) =>
      `limb-bridge pairing approve ${of?.requestId} --revision 1`
    const paired = 'cam1 is paired already, and asks to be paired with another key'
    const compare = (code = '') => `compare the code ${code} with the device before you approve`
    expect(app.logLines.filter(({ msg }) => /asks to be paired/.test(String(msg)))).toMatchObject([
      {
        kind: 'new',
        conflict: false,
        msg: expect.stringMatching(
          /^cam1 asks to be paired; compare the code [BCDFGHJKLMNPQRSTVWXZ]{8} with the device before you approve: limb-bridge/,
        ),
      },
      { kind: 'replace', conflict: false, msg: `${paired}; ${compare(one?.code)}: ${approve(one)}` },
      {
        kind: 'replace',
        conflict: true,
        msg: `${paired}; another request for this name waits too; ${compare(two?.code)}: ${approve(two)}`,
      },
    ])
  })

  it('warns of a wrong key of an approved limb, once a minute for each limb and address', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    await app.limb('cam1')
    await app.limb('cam2')
    const wrong = async (nodeId: string, times: number) => {
      for (let i = 0; i < times; i++) await (await app.device(nodeId, keyOf('other'))).end()
    }
    await wrong('cam1', 4)
    await wrong('cam2', 1)
    app.clock.advance(60_000)
    const msg = expect.stringMatching(
      /^cam\d connected from 127.0.0.1 with another key than the approved one; if the device lost its key, /,
    )
    const told = app.logLines.filter((line) => /another key than/.test(String(line.msg)))
    expect(told).toMatchObject([
      { level: 'warn', nodeId: 'cam1', address: '127.0.0.1', suppressed: 0, msg },
      { level: 'warn', nodeId: 'cam2', suppressed: 0 },
      { level: 'warn', nodeId: 'cam1', suppressed: 2 },
    ])
  })
})

describe('an operator', () => {
  it('cannot approve what changed since it was looked at', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe(pairing('cam1'))
    await device.publish(register('cam1'), REGISTRATION)
    const { requestId } = (await device.next(pairing('cam1'))).json
    await device.publish(register('cam1'), { ...REGISTRATION, displayName: 'Safe camera, honest' })
    await device.next(pairing('cam1'))
    const answer = await admin.ask('admin', 'pairing/approve', { requestId, revision: 1 })
    expect(answer).toMatchObject({ ok: false, error: { code: 'conflict', path: 'revision' } })
    expect(await admin.ask('admin', 'pairing/approve', { requestId, revision: 2 })).toMatchObject({
      ok: true,
    })
    expect(await admin.ask('admin', 'pairing/approve', { requestId, revision: 2 })).toMatchObject({
      error: { code: 'conflict' },
    })
  })

  it('sees a pending request as a retained message without any secret, until it is decided', async () => {
    await using app = await startApp({}, { memory: true })
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe(pairing('cam1'))
    await device.publish(register('cam1'), REGISTRATION)
    const { requestId, code } = (await device.next(pairing('cam1'))).json
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/pairing/+')
    const shown = await admin.next(`limb/bridge/pairing/${requestId}`)
    expect(shown).toMatchObject({
      retain: true,
      json: { nodeId: 'cam1', code, revision: 1, conflict: false },
    })
    expect(shown.text).not.toContain(keyOf('cam1'))
    await admin.do('admin', 'pairing/reject', { requestId })
    expect((await admin.next(`limb/bridge/pairing/${requestId}`)).text).toBe('')
  })

  it('lets the pairing window approve new limbs by itself, but no conflict and no replacement', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await app.limb('paired')
    await admin.do('admin', 'pairing/permit', { seconds: 60, max: 2 })
    const first = await app.device('cam1', keyOf('cam1'))
    await first.subscribe(pairing('cam1'))
    await first.publish(register('cam1'), REGISTRATION)
    expect((await first.next(pairing('cam1'))).json.status).toBe('approved')
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject({
      approvedBy: 'window:admin',
    })

    const replacing = await app.device('paired', keyOf('thief'))
    await replacing.subscribe(pairing('paired'))
    await replacing.publish(register('paired'), REGISTRATION)
    expect((await replacing.next(pairing('paired'))).json.status).toBe('pending')

    const second = await app.device('cam2')
    await second.subscribe(pairing('cam2'))
    await second.publish(register('cam2'), REGISTRATION)
    expect((await second.next(pairing('cam2'))).json).toMatchObject({
      status: 'approved',
      apiKey: expect.any(String),
    })
    const third = await app.device('cam3', keyOf('cam3'))
    await third.subscribe(pairing('cam3'))
    await third.publish(register('cam3'), REGISTRATION)
    expect((await third.next(pairing('cam3'))).json.status).toBe('pending')
  })

  it('is told that the window is closed when its last approval is used, once', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/event/pairing_window_closed')
    await admin.do('admin', 'pairing/permit', { seconds: 60, max: 1 })
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe(pairing('cam1'))
    await device.publish(register('cam1'), REGISTRATION)
    expect((await device.next(pairing('cam1'))).json.status).toBe('approved')
    expect((await admin.next('limb/bridge/event/pairing_window_closed')).json.by).toBe('bridge')
    app.clock.advance(61_000)
    expect(app.logLines.filter(({ msg }) => msg === 'the pairing window is closed')).toHaveLength(1)
  })

  it('can close the window again, and never open it for more than an hour', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    expect(await admin.ask('admin', 'pairing/permit', { seconds: 3601 })).toMatchObject({
      error: { code: 'invalid_request', path: 'seconds' },
    })
    expect((await admin.do('admin', 'pairing/permit', { seconds: 10 })).pairingWindow).toMatchObject({
      until: expect.any(String),
    })
    expect((await admin.do('admin', 'pairing/permit', { seconds: 0 })).pairingWindow).toBeNull()
  })
})

describe('an approved limb that registers again', () => {
  it('has its new name, firmware and endpoint stored at once, and they survive a restart', async () => {
    await using app = await startApp()
    const device = await app.limb('cam1')
    const now = {
      ...REGISTRATION,
      displayName: 'Back camera',
      firmware: '1.3.0',
      endpointUrl: 'http://192.168.1.51:9090',
      platform: 'esp32s3',
    }
    await device.publish(register('cam1'), now)
    expect((await device.next(pairing('cam1'))).json.status).toBe('approved')
    const wanted = {
      displayName: 'Back camera',
      firmware: '1.3.0',
      endpointUrl: 'http://192.168.1.51:9090',
      platform: 'esp32s3',
    }
    const admin = await app.admin()
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject(wanted)
    await app.restart()
    const later = await app.admin()
    expect(await later.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject(wanted)
  })

  it('keeps what is approved while what it asks for more waits as a request of its own', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    const more = {
      ...REGISTRATION,
      capabilities: [
        ...REGISTRATION.capabilities,
        { cap: 'siren', commands: ['siren.on'], authLevel: 'free' },
      ],
    }
    await device.publish(register('cam1'), more)
    const answer = (await device.next(pairing('cam1'))).json
    expect(answer).toMatchObject({
      status: 'approved',
      capabilities: REGISTRATION.capabilities,
      awaiting: expect.any(String),
    })
    await admin.do('admin', 'pairing/approve', { requestId: answer.awaiting })
    const widened = (await device.next(pairing('cam1'))).json
    expect(widened.capabilities).toHaveLength(2)
    expect(widened).not.toHaveProperty('awaiting')
  })

  it('is not asked about a widening again after it was rejected, and stays connected', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    const more = { ...REGISTRATION, capabilities: [{ ...REGISTRATION.capabilities[0], authLevel: 'free' }] }
    await device.publish(register('cam1'), more)
    const { awaiting } = (await device.next(pairing('cam1'))).json
    await admin.do('admin', 'pairing/reject', { requestId: awaiting })
    expect((await device.next(pairing('cam1'))).json).not.toHaveProperty('awaiting')
    await device.publish(register('cam1'), more)
    expect((await device.next(pairing('cam1'))).json).toEqual(
      expect.not.objectContaining({ awaiting: expect.anything() }),
    )
    expect((await admin.do('admin', 'pairing/list')).items).toEqual([])
  })

  it('does not undo the name that the operator gave it', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    await admin.do('admin', 'node/rename', { nodeId: 'cam1', displayName: 'Porch' })
    await device.publish(register('cam1'), { ...REGISTRATION, displayName: 'Factory name' })
    await device.next(pairing('cam1'))
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject({ displayName: 'Porch' })
  })
})

describe('limits of pairing', () => {
  it('bound the requests of all, and the refused are told', async () => {
    await using app = await startApp({ pairing: { maxPending: 2 } }, { memory: true })
    for (const [i, status] of [
      ['1', 'pending'],
      ['2', 'pending'],
      ['3', 'error'],
    ] as const) {
      const device = await app.device(`cam${i}`, keyOf(`cam${i}`))
      await device.subscribe(pairing(`cam${i}`))
      await device.publish(register(`cam${i}`), REGISTRATION)
      const answer = (await device.next(pairing(`cam${i}`))).json
      expect(answer.status).toBe(status)
      if (status === 'error') expect(answer.error.code).toBe('too_many_requests')
    }
  })

  it('end a request without a sign of its candidate, and keep that of a candidate that is connected', async () => {
    await using app = await startApp({ pairing: { pendingSeconds: 60 } }, { fakeClock: true, memory: true })
    const admin = await app.admin()
    for (const nodeId of ['gone', 'here']) {
      const device = await app.device(nodeId, keyOf(nodeId))
      await device.subscribe(pairing(nodeId))
      await device.publish(register(nodeId), REGISTRATION)
      await device.next(pairing(nodeId))
      if (nodeId === 'gone') await device.end()
    }
    await admin.subscribe('limb/bridge/event/pairing_expired')
    app.clock.advance(62_000)
    expect((await admin.next('limb/bridge/event/pairing_expired')).json.nodeId).toBe('gone')
    const { items } = await admin.do('admin', 'pairing/list')
    expect(items.map((item: { nodeId: string }) => item.nodeId)).toEqual(['here'])
  })
})

describe('a revoked limb', () => {
  it('is told, cut off and refused, and leaves no retained topic and no policy behind', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    await device.publish('limb/node/cam1/data/temp', '21', { qos: 1, retain: true })
    await device.publish('limb/node/cam1/heartbeat')
    await admin.do('admin', 'policy/set', { principal: '*', nodeId: 'cam1', capability: '*', level: 'free' })
    await admin.subscribe(['limb/node/+/status', 'limb/node/+/state', 'limb/node/+/data/#'])
    await admin.next('limb/node/cam1/data/temp')
    const ended = device.ended()
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    expect((await device.next(pairing('cam1'))).json).toEqual({ status: 'rejected' })
    await ended
    for (const leaf of ['status', 'state', 'data/temp']) {
      const cleared = await admin.next(
        (message) => message.topic === `limb/node/cam1/${leaf}` && message.text === '',
      )
      expect(cleared.text).toBe('')
    }
    await expect(app.device('cam1', keyOf('cam1'))).rejects.toMatchObject({ code: 5 })
    expect((await admin.do('admin', 'policy/list')).items).toEqual([])
    const late = await app.admin()
    await late.subscribe(['limb/node/+/status', 'limb/node/+/state', 'limb/node/+/data/#'])
    await late.settle()
    expect(late.waiting).toEqual([])
  })
})
