import { describe, expect, it } from 'vitest'
import { createLog } from '../../src/host/log/log.ts'
import { connectPacket, dial, publishPacket } from '../broker/wire.ts'
import { start } from '../cli/run.ts'
import { keyOf, REGISTRATION, startApp } from '../support/app.ts'
import type { Loose } from '../support/client.ts'

/** Names that mean something to the language, to MQTT, to a terminal, to a log or to the eye. */

const INHERITED = ['constructor', 'toString', 'hasOwnProperty', 'valueOf', 'isPrototypeOf']

describe('names that every object has', () => {
  it.each(INHERITED)('%s is a limb like any other, from its claim to its end', async (nodeId) => {
    await using app = await startApp()
    const admin = await app.admin()
    expect((await admin.ask('admin', 'node/get', { nodeId })).error.code).toBe('not_found')
    const capabilities = [{ cap: nodeId, commands: [nodeId], authLevel: 'free' }]
    const limb = await app.limb(nodeId, { ...REGISTRATION, capabilities })
    await limb.publish(`limb/node/${nodeId}/heartbeat`, {
      status: 'online',
      unavailable: [nodeId],
      metrics: { constructor: 1, toString: 2 },
    })
    await limb.settle()
    const state = await admin.do('admin', 'node/get', { nodeId })
    expect(state).toMatchObject({
      nodeId,
      status: 'online',
      capabilities: [{ cap: nodeId, available: false }],
    })
    expect(Object.entries(state.metrics)).toEqual([
      ['constructor', 1],
      ['toString', 2],
    ])
    await admin.do('admin', 'policy/set', { principal: nodeId, nodeId, capability: nodeId, level: 'denied' })
    const decision = await admin.do('admin', 'policy/explain', {
      principal: nodeId,
      nodeId,
      capability: nodeId,
    })
    expect(decision.level).toBe('denied')
    await admin.do('admin', 'node/revoke', { nodeId })
    await limb.ended()
    expect((await admin.do('admin', 'node/list')).items).toEqual([])
  })

  it('are no verbs, and no topics', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    for (const verb of ['constructor', '__proto__', 'toString', 'node/constructor', 'hasOwnProperty']) {
      expect((await admin.ask('admin', verb)).error.code).toBe('invalid_request')
    }
  })

  it.each(['__proto__', 'constructor', 'prototype'])('%s as a client id is a client id', async (clientId) => {
    await using app = await startApp()
    await (await app.limb('cam1')).end()
    const limb = await app.device('cam1', keyOf('cam1'), { clientId, clean: false })
    expect(await limb.subscribe('limb/node/cam1/invoke')).toEqual([1])
    await (await app.device('cam2', keyOf('cam2'), { clientId })).end()
    await limb.end()
    const again = await app.device('cam1', keyOf('cam1'), { clientId, clean: false })
    await again.settle()
  })

  it('in a payload pollute nothing', async () => {
    await using app = await startApp()
    const limb = await app.limb('cam1')
    const evil = '{"status":"online","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'
    await limb.publish('limb/node/cam1/heartbeat', evil)
    await limb.publish('limb/node/cam1/register', evil)
    await limb.settle()
    const admin = await app.admin()
    const args = JSON.parse('{"__proto__":{"limit":1},"constructor":1}')
    expect((await admin.ask('admin', 'node/list', args)).error.code).toBe('invalid_request')
    expect((await admin.ask('admin', 'node/list', {})).ok).toBe(true)
    expect(({} as Loose).polluted).toBeUndefined()
  })
})

describe('ids with a meaning in MQTT', () => {
  it('are no names', async () => {
    await using app = await startApp()
    const names = ['cam/1', '+', '#', 'cam+', '$SYS', 'a b', '../cam1', '-cam', '_cam', 'cäm1']
    for (const name of [...names, `c${'x'.repeat(63)}`]) {
      await expect(app.device(name, keyOf('x')), name).rejects.toMatchObject({ code: 4 })
      const client = await dial({ port: app.bridge.mqtt.port })
      client.send(connectPacket({ clientId: name }))
      expect((await client.connack()).code, name).toBe(2)
      client.cut()
    }
  })

  it.each([
    ['NUL in a user name', { username: 'cam\0', password: 'x' }],
    ['NUL in a client id', { clientId: 'cam\0', username: 'cam1' }],
    ['a line end in a user name', { username: 'cam\n1' }],
    ['an escape in a client id', { clientId: '\u001b[2J', username: 'cam1' }],
  ])('%s ends the connection, and no other', async (_what, options) => {
    await using app = await startApp()
    const healthy = await app.device('cam9', keyOf('cam9'))
    const client = await dial({ port: app.bridge.mqtt.port })
    client.send(connectPacket(options))
    await client.closed
    await healthy.settle()
  })

  it('NUL, wildcards and bytes that are no UTF-8 in a topic end the connection, and nothing is stored', async () => {
    await using app = await startApp()
    await (await app.limb('cam1')).end()
    const start = 'limb/node/cam1/data/'
    for (const topic of [
      `${start}\0`,
      `${start}+`,
      `${start}#`,
      Buffer.from([...Buffer.from(start), 0xff]),
    ]) {
      const client = await dial({ port: app.bridge.mqtt.port })
      client.send(connectPacket({ username: 'cam1', password: keyOf('cam1') }))
      await client.connack()
      client.send(publishPacket(topic, 'x', { qos: 1, retain: true }))
      await client.closed
    }
    const admin = await app.admin()
    await admin.subscribe('limb/node/+/data/#')
    await admin.settle()
    expect(admin.waiting).toEqual([])
  })

  it('in a registration is an error with its path', async () => {
    await using app = await startApp()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe('limb/node/cam1/pairing')
    for (const cap of ['a/b', '#', '__proto__', 'a\0b', '']) {
      const capabilities = [{ cap, commands: [], authLevel: 'free' }]
      await device.publish('limb/node/cam1/register', { ...REGISTRATION, capabilities })
      expect((await device.next('limb/node/cam1/pairing')).json.error).toMatchObject({
        code: 'invalid_request',
        path: 'capabilities[0].cap',
      })
    }
  })
})

describe('display names', () => {
  it('that are more than one visible line of text are refused', async () => {
    await using app = await startApp()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe('limb/node/cam1/pairing')
    for (const [what, displayName] of [
      ['a line end', 'Cam\n2026-01-01 INFO all is well'],
      ['a terminal escape', '\u001b]0;owned\u0007\u001b[31mCam'],
      ['an 8-bit escape', 'Cam\u009b31m'],
      ['a turned direction', 'Cam \u202egpj.exe'],
      ['an invisible letter', 'Ca\u200bm'],
      ['a lone surrogate', 'Cam \ud800'],
    ] as const) {
      const payload = JSON.stringify({ ...REGISTRATION, displayName })
      await device.publish('limb/node/cam1/register', payload)
      const { error } = (await device.next('limb/node/cam1/pairing')).json
      expect(error, what).toMatchObject({ code: 'invalid_request', path: 'displayName' })
    }
  })

  it('that mix alphabets are marked for the operator, in the list and before the question', async () => {
    await using app = await startApp()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe('limb/node/cam1/pairing')
    // The second letter is Cyrillic.
    await device.publish('limb/node/cam1/register', { ...REGISTRATION, displayName: 'Frоnt door' })
    await device.next('limb/node/cam1/pairing')
    const asked = start(['pairing', 'approve', '--socket', app.bridge.control], { terminal: true })
    await asked.seen('Which one?')
    expect(asked.out()).toContain('(MIXED ALPHABETS)')
    asked.stdin.write('\n')
    await asked.seen('[y/N]')
    expect(asked.out()).toContain('CAREFUL: the name mixes Latin and Cyrillic letters')
    asked.stdin.write('n\n')
    await asked.exit
  })
})

describe('log injection', () => {
  it('is not possible by any text of a peer: a line stays a line, and shows what it is', async () => {
    await using app = await startApp()
    const evil = '\u202e\u2028{"level":"fatal","msg":"forged"}\u{e0041}'
    await expect(app.device(evil, 'x')).rejects.toMatchObject({ code: 4 })
    await expect(app.device('cam1', 'x', { clientId: `x${evil.repeat(9)}` })).rejects.toMatchObject({
      code: 2,
    })
    const device = await app.device('cam1', keyOf('cam1'))
    await device.publish(`limb/${evil}`, evil)
    await device.publish('limb/node/cam1/register', `{"displayName":${JSON.stringify(`a\n${evil}`)}}`)
    await device.settle()
    expect(app.logLines.filter(({ level, msg }) => level === 'fatal' || msg === 'forged')).toEqual([])
    const refused = app.logLines.find(({ msg }) => String(msg).startsWith('sign-in refused'))
    // What is no name may be a password typed in the wrong place: it is not kept.
    expect(String(refused?.name)).toMatch(/^\(no name, \d+ characters\)$/)
  })

  it('puts nothing on the screen that turns, hides or starts a line', async () => {
    const lines: string[] = []
    const evil = '\u202e\u2028\u200b\u001b[31m\r\nforged'
    for (const format of ['json', 'pretty'] as const) {
      const log = createLog({ level: 'info', format, terminal: false, write: (line) => lines.push(line) })
      log.info({ name: evil, [evil]: 1 }, `hello ${evil}`)
    }
    for (const line of lines) {
      expect(line.trimEnd()).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
      expect(line.trimEnd().split('\n').length).toBe(1)
    }
  })
})
