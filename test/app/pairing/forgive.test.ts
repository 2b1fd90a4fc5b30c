import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../../support/app.ts'

/** A device that asks; its request. */
async function asking(app: TestApp, nodeId: string, key = keyOf(nodeId)) {
  const device = await app.device(nodeId, key)
  await device.subscribe(`limb/node/${nodeId}/pairing`)
  await device.publish(`limb/node/${nodeId}/register`, REGISTRATION)
  const { json } = await device.next(`limb/node/${nodeId}/pairing`)
  return { device, answer: json }
}

describe('what was refused', () => {
  it('is listed with why and until when, and forgiven: the device connects and asks again', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const { device, answer } = await asking(app, 'cam1')
    await admin.do('admin', 'pairing/reject', { requestId: answer.requestId })
    await device.ended()
    await expect(app.device('cam1', keyOf('cam1'))).rejects.toThrow(/5|authori/i)

    const { items } = await admin.do('admin', 'pairing/list', { state: 'refused' })
    expect(items).toEqual([
      { nodeId: 'cam1', why: 'rejected', at: expect.any(String), until: expect.any(String) },
    ])
    expect(Date.parse(items[0].until) - Date.parse(items[0].at)).toBeCloseTo(86_400_000, -4)

    await admin.subscribe('limb/bridge/event/pairing_forgiven')
    expect(await admin.do('admin', 'pairing/forgive', { nodeId: 'cam1' })).toEqual({
      nodeId: 'cam1',
      forgiven: 1,
    })
    expect((await admin.next('limb/bridge/event/pairing_forgiven')).json).toMatchObject({
      nodeId: 'cam1',
      by: 'admin',
    })
    expect((await asking(app, 'cam1')).answer.status).toBe('pending')
    expect((await admin.do('admin', 'pairing/list', { state: 'refused' })).items).toEqual([])
    expect((await admin.do('admin', 'pairing/list', { state: 'pending' })).items).toHaveLength(1)
    expect(await admin.do('admin', 'pairing/forgive', { nodeId: 'cam1' })).toMatchObject({ forgiven: 0 })
    const { items: rows } = await admin.do('admin', 'audit/list', { kind: 'pairing.forgiven' })
    expect(rows).toHaveLength(1)
  })

  it('comes in pages, and is for operators', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    for (const nodeId of ['cam1', 'cam2', 'cam3']) {
      const { answer } = await asking(app, nodeId)
      await admin.do('admin', 'pairing/reject', { requestId: answer.requestId })
    }
    const first = await admin.do('admin', 'pairing/list', { state: 'refused', limit: 2 })
    const second = await admin.do('admin', 'pairing/list', { state: 'refused', limit: 2, after: first.next })
    expect([...first.items, ...second.items].map(({ nodeId }: { nodeId: string }) => nodeId)).toEqual([
      'cam1',
      'cam2',
      'cam3',
    ])
    const viewer = await app.admin({ username: 'admin', password: 'role:viewer' })
    const answer = await viewer.ask('admin', 'pairing/list', { state: 'refused' })
    expect(answer).toMatchObject({ ok: false, error: { code: 'forbidden' } })
  })

  it('is a revoked limb too, with its certificate, and one claim that lost against another for minutes only', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await app.limb('cam1')
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    const { answer } = await asking(app, 'cam2')
    await asking(app, 'cam2', 'the key of somebody else, or of the right one')
    await admin.do('admin', 'pairing/approve', { requestId: answer.requestId })
    const { items } = await admin.do('admin', 'pairing/list', { state: 'refused' })
    expect(items.map(({ nodeId, why }: Record<string, string>) => [nodeId, why])).toEqual([
      ['cam1', 'revoked'],
      ['cam1', 'revoked'],
      ['cam2', 'other_approved'],
    ])
    const lost = items[2]
    expect(Date.parse(lost.until) - Date.parse(lost.at)).toBeLessThan(301_000)
    expect(await admin.do('admin', 'pairing/forgive', { nodeId: 'cam1' })).toMatchObject({ forgiven: 2 })
    expect((await asking(app, 'cam1')).answer.status).toBe('pending')
  })
})
