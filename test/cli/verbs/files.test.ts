import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseCsv } from '../../../src/cli/verbs/csv.ts'
import { entriesOf } from '../../../src/cli/verbs/fleet-file.ts'
import { REGISTRATION, startApp, type TestApp } from '../../support/app.ts'
import type { TestClient } from '../../support/client.ts'
import { run } from '../run.ts'

/** Files that the command line reads and writes. */

let app: TestApp & AsyncDisposable
beforeEach(async () => {
  app = await startApp({}, { memory: true })
})
afterEach(() => app[Symbol.asyncDispose]())

const local = (...argv: string[]) => run([...argv, '--socket', app.bridge.control])
const path = (name: string) => join(app.folder, name)
const file = (name: string, text: string) => {
  writeFileSync(path(name), text)
  return path(name)
}
async function items(...argv: string[]) {
  const { code, out, err } = await local(...argv, '--json')
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out).items
}

const CAMERA = { cap: 'camera', commands: ['camera.snap', 'camera.clip'], authLevel: 'leased' }
const SENSOR = { cap: 'sensor', commands: [], authLevel: 'free' }

describe('node import', () => {
  test.each([
    ['a JSON array', '[{"nodeId": "a"},\n {"nodeId": "b", "displayName": "Left, \\"old\\""}]'],
    [
      'the answer of a list',
      '{\n  "items": [{"nodeId": "a"}, {"nodeId": "b", "displayName": "Left, \\"old\\""}]\n}',
    ],
    [
      'JSON Lines with a mark before them',
      '\ufeff{"nodeId":"a"}\n{"nodeId":"b","displayName":"Left, \\"old\\""}',
    ],
    ['CSV', 'nodeId,displayName\na,\nb,"Left, ""old"""\n'],
    ['CSV of a spreadsheet with semicolons', '\ufeffnodeId;displayName\r\na;\r\nb;"Left, ""old"""\r\n'],
  ])('takes %s', async (_form, text) => {
    expect((await local('node', 'import', file('fleet.txt', text))).err).toBe('2 limbs imported\n')
    expect(await items('node', 'list')).toMatchObject([
      { nodeId: 'a', displayName: 'a' },
      { nodeId: 'b', displayName: 'Left, "old"' },
    ])
  })

  test('takes capabilities, numbers and texts over several lines from cells', async () => {
    const text = [
      'nodeId,heartbeatSeconds,capabilities,platform',
      'a,30,"camera:leased:camera.snap camera.clip; sensor:free",esp32',
      `b,,"${JSON.stringify([SENSOR]).replaceAll('"', '""')}",`,
    ].join('\n')
    expect((await local('node', 'import', file('fleet.csv', text))).code).toBe(0)
    expect(await items('node', 'list')).toMatchObject([
      { nodeId: 'a', platform: 'esp32', capabilities: [CAMERA, SENSOR] },
      { nodeId: 'b', capabilities: [SENSOR] },
    ])
  })

  test.each([
    ['nodeId\na/b\n"c\nd"\n', 'line 2: nodeId', 'line 3: nodeId'],
    ['nodeId,plattform\na,x\n', 'line 2: plattform: is no argument here; did you mean platform?', ''],
    ['nodeId\na,b\n', 'line 2: has 2 cells', ''],
    ['nodeId\n"a\n', 'never closed', ''],
    ['name,platform\na,x\n', 'line 1: neither JSON nor CSV', 'nodeId'],
    ['[{"nodeId": "a"}, {"nodeId": 7}, {"nodeId": "a"}]', '[1]: nodeId', '[2]: a stands in [0] already'],
    ['[{"nodeId": "a"', 'the file: not JSON', ''],
    ['[]', 'there is no limb in it', ''],
  ])('refuses %j as a whole, and says where it is wrong', async (text, first, second) => {
    const { code, err } = await local('node', 'import', file('fleet.csv', text))
    expect([code, err]).toEqual([2, expect.stringContaining(first)])
    expect(err).toContain(second)
    expect(await items('node', 'list')).toEqual([])
  })

  test('reads no cell of a row into the next one', () => {
    expect(parseCsv('a,b\n\n"x\n""y""", z \nlast')).toEqual([
      { line: 1, cells: ['a', 'b'] },
      { line: 3, cells: ['x\n"y"', ' z '] },
      { line: 5, cells: ['last'] },
    ])
    expect(entriesOf('')).toEqual([])
  })
})

describe('node export', () => {
  test.each(['fleet.jsonl', 'fleet.json', 'fleet.csv'])(
    'writes %s, which another bridge imports',
    async (name) => {
      await using other = await startApp({}, { memory: true })
      await app.limb('a', { ...REGISTRATION, capabilities: [CAMERA, SENSOR] })
      await app.limb('b', { ...REGISTRATION, displayName: '=HYPERLINK("x")', capabilities: [] })
      const { code, err } = await local('node', 'export', path(name))
      expect([code, err]).toEqual([0, expect.stringContaining('2 limbs are in')])
      // A spreadsheet runs a cell that begins so.
      if (name.endsWith('csv')) expect(readFileSync(path(name), 'utf8')).toContain("'=HYPERLINK")
      expect((await run(['node', 'import', path(name), '--socket', other.bridge.control])).code).toBe(0)
      const list = await run(['node', 'list', '--json', '--socket', other.bridge.control])
      const bare = (all: object[]) =>
        all.map((each) => {
          const { nodeId, displayName, platform, capabilities } = each as Record<string, unknown>
          return { nodeId, displayName, platform, capabilities }
        })
      expect(bare(JSON.parse(list.out).items)).toEqual(bare(await items('node', 'list')))
    },
  )

  test('prints JSON Lines without a file, and says what it cannot write', async () => {
    await app.limb('a')
    const { out } = await local('node', 'export')
    expect(JSON.parse(out)).toMatchObject({ nodeId: 'a', platform: 'esp32' })
    const { code, err } = await local('node', 'export', path('no/such/folder.json'))
    expect([code, err]).toEqual([1, expect.stringContaining('cannot write')])
  })
})

describe('invoke --output', () => {
  const PNG = Buffer.from('89504e470d0a1a0a0000', 'hex')

  async function camera(data: unknown, more: object = {}): Promise<TestClient> {
    const limb = await app.limb('cam1', { ...REGISTRATION, capabilities: [{ ...CAMERA, authLevel: 'free' }] })
    await limb.subscribe('limb/node/cam1/invoke')
    await limb.publish('limb/node/cam1/heartbeat', {})
    await limb.settle()
    limb.mqtt.on('message', (topic, payload) => {
      if (!topic.endsWith('/invoke')) return
      const { invocationId } = JSON.parse(payload.toString())
      void limb.publish('limb/node/cam1/result', { invocationId, success: true, data, ...more })
    })
    return limb
  }

  test.each([
    ['an object', { mimeType: 'image/png', base64: PNG.toString('base64') }, {}],
    ['a data: URI in a key', { shot: `data:image/png;base64,${PNG.toString('base64')}` }, {}],
    ['its artifact', null, { artifactUri: `data:image/png;base64,${PNG.toString('base64')}` }],
  ])('writes the picture that a limb answers as %s, and says where', async (_form, data, more) => {
    await camera(data, more)
    const target = path('door.png')
    const { code, out, err } = await local('invoke', 'camera.snap', 'cam1', '--output', target, '--json')
    expect([code, err]).toEqual([0, ''])
    expect(JSON.parse(out)).toMatchObject({ nodeId: 'cam1', files: [target] })
    expect(out).not.toContain(PNG.toString('base64'))
    expect(readFileSync(target)).toEqual(PNG)
  })

  test('numbers the second of several', async () => {
    const picture = { mimeType: 'image/png', base64: PNG.toString('base64') }
    await camera([picture, picture])
    await local('invoke', 'camera.snap', 'cam1', '--output', path('door.png'))
    expect(readFileSync(path('door-2.png'))).toEqual(PNG)
  })

  test('says that the command ran when there is no picture in the answer', async () => {
    await camera({ note: 'dark' })
    const { code, err } = await local('invoke', 'camera.snap', 'cam1', '--output', path('door.png'))
    expect([code, err]).toEqual([1, expect.stringContaining('the command ran, and there is no picture')])
  })

  test('refuses a place that it cannot write to before anything runs', async () => {
    const limb = await camera({})
    let ran = false
    limb.mqtt.on('message', (topic) => {
      ran ||= topic.endsWith('/invoke')
    })
    const { code } = await local('invoke', 'camera.snap', 'cam1', '--output', path('no/such/door.png'))
    expect([code, ran]).toEqual([2, false])
    expect((await local('invoke', 'camera.snap', 'cam1', '--node-id', 'cam2')).err).toContain(
      'different things',
    )
  })
})

test.each([
  ['restart', 'systemctl restart limb-bridge', 'restore?'],
  ['stop', 'systemctl stop limb-bridge', 'restore?'],
  ['logs', 'journalctl -u limb-bridge', 'Did you mean'],
  ['approve', '`limb-bridge pairing approve` or `limb-bridge invocation approve`?', 'restore'],
  ['restor', 'Did you mean restore?', 'systemctl'],
])('%s is no command, and is told what to type instead', async (word, told, untold) => {
  const { code, err } = await run([word])
  expect([code, err]).toEqual([2, expect.stringContaining(told)])
  expect(err).not.toContain(untold)
})
