import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connectionError } from '../../src/cli/session/mqtt-errors.ts'
import { Refusal } from '../../src/kernel/errors.ts'
import { partBeyond } from '../../src/protocol/json-text.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { VERBS } from '../../src/protocol/verbs.ts'
import { type FakeBridge, SILENCE, startFakeBridge } from './fake-bridge.ts'
import { type RunOptions, run, start } from './run.ts'

let bridge: FakeBridge
beforeEach(async () => {
  bridge = await startFakeBridge()
})
afterEach(() => bridge.stop())

const local = (argv: string[], options?: RunOptions) => run([...argv, '--socket', bridge.socket], options)

const node = (nodeId: string, more: object = {}) => ({
  nodeId,
  displayName: `Limb ${nodeId}`,
  platform: 'esp32',
  capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'leased', available: true }],
  status: 'online',
  reason: 'heartbeat',
  since: new Date(Date.now() - 90_000).toISOString(),
  lastHeartbeatAt: new Date().toISOString(),
  ...more,
})

const request = (more: object = {}) => ({
  requestId: 'r1',
  revision: 3,
  kind: 'new',
  nodeId: 'cam1',
  displayName: 'Front camera',
  platform: 'esp32',
  capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'leased' }],
  code: 'BCDFGHJK',
  conflict: false,
  address: '192.168.1.50',
  requestedAt: new Date().toISOString(),
  expiresAt: new Date().toISOString(),
  ...more,
})

test('audit list --jsonl --limit goes on behind a page on which the filter found too few', async () => {
  const pages: Record<string, object> = {
    start: { items: [], next: '90' },
    90: { items: [{ seq: 80 }], next: '60' },
    60: { items: [{ seq: 50 }, { seq: 40 }], next: '40' },
  }
  bridge.answers['audit/list'] = ({ after = 'start' }) => pages[String(after)]
  const { code, out } = await local(['audit', 'list', '--jsonl', '--limit', '2', '--actor', 'ann'])
  expect({ code, out }).toEqual({ code: 0, out: '{"seq":80}\n{"seq":50}\n' })
})

describe('a value that may have several forms', () => {
  test.each([
    ['--presence', 'sleepy', { presence: 'sleepy' }],
    [
      '--presence',
      '{"mode": "connection", "topic": "data/tele/LWT"}',
      { presence: { mode: 'connection', topic: 'data/tele/LWT' } },
    ],
    ['--presence', 'null', { presence: null }],
    ['--heartbeat-seconds', '30', { heartbeatSeconds: 30 }],
    ['--heartbeat-seconds', 'null', { heartbeatSeconds: null }],
    ['--area', 'kitchen', { area: 'kitchen' }],
    ['--area', 'null', { area: null }],
  ])('node set %s %s', async (option, text, sent) => {
    let given: object = {}
    bridge.answers['node/set'] = (args) => {
      given = args
      return {}
    }
    expect(await local(['node', 'set', 'cam1', option, text])).toMatchObject({ code: 0 })
    expect(given).toMatchObject(sent)
  })

  test.each([
    ['{"model": "M1"}', { model: 'M1' }],
    ['null', null],
  ])('node describe --description %s', async (text, description) => {
    let given: object = {}
    bridge.answers['node/describe'] = (args) => {
      given = args
      return {}
    }
    expect(await local(['node', 'describe', 'cam1', '--description', text])).toMatchObject({ code: 0 })
    expect(given).toMatchObject({ description })
  })
})

describe('every verb', () => {
  test.each(Object.keys(VERBS))('%s is a subcommand whose help says what it does', async (verb) => {
    const { code, out } = await run([...verb.split('/'), '--help'])
    expect(code).toBe(0)
    expect(out.replace(/\s+/g, ' ')).toContain(VERBS[verb as keyof typeof VERBS].summary)
  })

  test('arguments and options reach the bridge with their types, as the principal admin', async () => {
    bridge.answers['pairing/permit'] = () => ({})
    bridge.answers['node/provision'] = ({ nodeId }) => ({ nodeId, apiKey: 'made-by-the-bridge' })
    const capabilities = [{ cap: 'camera', commands: [], authLevel: 'free' }]
    expect((await local(['pairing', 'permit', '300', '--max', '5', '--node-id', 'cam1'])).code).toBe(0)
    const provisioned = await local([
      'node',
      'provision',
      'cam1',
      '--capabilities',
      JSON.stringify(capabilities),
    ])
    expect(provisioned.out).toMatch(/apiKey: +made-by-the-bridge/)
    expect(provisioned.out).toContain('shown this once')
    expect(bridge.requests).toEqual([
      { verb: 'pairing/permit', principal: 'admin', args: { seconds: 300, max: 5, nodeId: 'cam1' } },
      { verb: 'node/provision', principal: 'admin', args: { nodeId: 'cam1', capabilities } },
    ])
  })

  test('a value that the bridge would refuse is refused here, in the words of the command line', async () => {
    const cases: [string[], string | RegExp][] = [
      [['pairing', 'permit', '9999'], '<seconds>: must be at most 3600'],
      [['pairing', 'permit', '9', '--max', '0'], '--max: must be at least 1'],
      [['node', 'rename', 'x', 'y'.repeat(200)], /<display-name>: must have at most \d+ characters/],
      [['policy', 'set', '!', '*', 'lock', 'free'], '<principal>: must be 1 to 63 letters'],
      [
        ['node', 'provision', 'x', '--capabilities', '[{"cap":"a","commands":7,"authLevel":"free"}]'],
        '[0].commands: must be a list',
      ],
      [
        ['node', 'provision', 'x', '--capabilities', '[{"cap":"a","commands":[],"authLevel":"no"}]'],
        'must be "free", "leased"',
      ],
      [['pairing', 'permit', 'soon'], 'is not a whole number'],
      [['policy', 'set', '*', '*', 'lock', 'maybe'], 'Allowed choices are free, leased, gated, denied'],
      [['node', 'get', 'a/b'], '<node-id>'],
      [['node', 'provision', 'x', '--capabilities', '{'], '--capabilities: not JSON'],
      [['node', 'provision', 'x', '--capabilities', '[{"cap":"!"}]'], '--capabilities [0].cap'],
      [['node', 'get'], "missing required argument 'node-id'"],
      [['node', 'lst'], 'Did you mean list?'],
      [['lst'], '`limb-bridge --help` lists the commands.'],
    ]
    for (const [argv, text] of cases) {
      const { code, err } = await local(argv)
      expect([code, argv, err]).toEqual([
        2,
        argv,
        typeof text === 'string' ? expect.stringContaining(text) : expect.stringMatching(text),
      ])
      // What the library of schemas says by itself is for programmers.
      expect(err).not.toMatch(/expected|Invalid|Too (big|small)/)
    }
    expect(bridge.requests).toEqual([])
  })
})

describe('tables', () => {
  test('a list is an aligned table for people', async () => {
    bridge.answers['node/list'] = () => ({ items: [node('cam1'), node('camera-22', { status: 'offline' })] })
    const { out, code } = await local(['node', 'list'])
    expect(code).toBe(0)
    const [head = '', first = '', second = ''] = out.split('\n')
    expect(head).toMatch(/^NODE +NAME +STATUS/)
    expect(first.indexOf('online')).toBe(head.indexOf('STATUS'))
    expect(second.indexOf('offline')).toBe(head.indexOf('STATUS'))
    expect(first).toMatch(/90s ago|2m ago|9\ds ago/)
    expect(first).toContain('camera (leased)')
  })

  test('no value can write to the terminal anything but text of its own cell', async () => {
    const hostile = 'a\x1b[2J\nok  fake-row\u202e\u009b1m'
    bridge.answers['node/list'] = () => ({
      items: [node('cam1', { displayName: hostile, platform: hostile })],
    })
    bridge.answers['node/get'] = () => ({ [hostile]: hostile, nodeId: hostile })
    for (const argv of [
      ['node', 'list'],
      ['node', 'get', 'x'],
      ['node', 'list', '--json'],
    ]) {
      const { out } = await local(argv)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come through
      expect(out).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/)
    }
    expect((await local(['node', 'list'])).out.trimEnd().split('\n')).toHaveLength(2)
  })

  test('an error of the bridge cannot write to the terminal either', async () => {
    bridge.answers['node/get'] = () => {
      throw new Refusal('internal', 'x\x1b[2Jy')
    }
    expect((await local(['node', 'get', 'x'])).err).toContain('x\\x1b[2Jy (internal)')
  })

  test('invocations are listed with what a person looks for, and fit on a terminal', async () => {
    const asked = Date.now() - 180_000
    const call = (more: object) => ({
      invocationId: 'iv_rd67xtsvfqao75fw',
      principal: 'ann',
      nodeId: 'robot1',
      capability: 'arm',
      command: 'arm.move',
      paramsHash: 'f'.repeat(64),
      level: 'gated',
      state: 'done',
      createdAt: new Date(asked).toISOString(),
      fence: 7,
      ...more,
    })
    bridge.answers['invocation/list'] = () => ({
      items: [
        call({ endedAt: new Date(asked + 345).toISOString(), decidedBy: 'bob' }),
        call({ endedAt: new Date(asked + 61_000).toISOString(), state: 'denied', reason: 'x'.repeat(200) }),
        call({ state: 'waiting' }),
      ],
    })
    const { out } = await local(['invocation', 'list'])
    const [head = '', ...rows] = out.trimEnd().split('\n')
    expect(head.split(/ +/)).toEqual('INVOCATION PRINCIPAL LIMB COMMAND LEVEL STATE ASKED TOOK BY'.split(' '))
    expect(rows.map((row) => row.split(/ {2,}/).slice(4))).toEqual([
      ['gated', 'done', '3m ago', '345ms', 'bob'],
      ['gated', 'denied', '3m ago', '61s', '-'],
      ['gated', 'waiting', '3m ago', '-', '-'],
    ])
    expect(Math.max(...rows.map((row) => row.length))).toBeLessThan(100)
  })

  test('an empty list says what to do next', async () => {
    bridge.answers['node/list'] = () => ({ items: [] })
    expect((await local(['node', 'list'])).out).toContain('pairing approve')
  })
})

describe('--json', () => {
  test('prints one document with what the bridge said', async () => {
    const items = [node('cam1')]
    bridge.answers['node/list'] = () => ({ items })
    expect(JSON.parse((await local(['node', 'list', '--json'])).out)).toEqual({ items })
    bridge.answers['node/revoke'] = () => undefined
    expect(JSON.parse((await local(['node', 'revoke', 'x', '--json'])).out)).toEqual({})
  })
})

describe('paging', () => {
  const pages: Record<string, object> = {
    first: { items: [node('a')], next: 'a' },
    a: { items: [node('b')], next: 'b' },
    b: { items: [node('c')] },
  }
  beforeEach(() => {
    bridge.answers['node/list'] = ({ after }) => pages[String(after ?? 'first')]
  })

  test('every page is fetched without being asked', async () => {
    const { out } = await local(['node', 'list', '--json'])
    expect(JSON.parse(out).items.map((item: { nodeId: string }) => item.nodeId)).toEqual(['a', 'b', 'c'])
  })

  test('with --limit one page is shown, and where to go on', async () => {
    const { out, err } = await local(['node', 'list', '--limit', '1'])
    expect(out.trimEnd().split('\n')).toHaveLength(2)
    expect(err).toContain('--after "a"')
    expect(bridge.requests[0]?.args).toEqual({ limit: 1 })
  })

  test('a bridge that promises more and shows nothing does not keep us', async () => {
    bridge.answers['node/list'] = () => ({ items: [], next: 'x' })
    expect((await local(['node', 'list'])).code).toBe(0)
  })
})

describe('exit codes', () => {
  test.each([
    ['denied', 5],
    ['timeout', 6],
    ['node_offline', 7],
    ['node_error', 8],
    ['conflict', 9],
    ['forbidden', 1],
  ] as const)('%s ends with %i, and with --json as an object with its code', async (refused, exit) => {
    bridge.answers['node/get'] = () => {
      throw new Refusal(refused, 'no', 'nodeId', { why: 'x' })
    }
    const { code, out } = await local(['node', 'get', 'x', '--json'])
    expect(code).toBe(exit)
    expect(JSON.parse(out)).toEqual({
      error: { code: refused, message: 'no', path: 'nodeId', details: { why: 'x' } },
    })
  })

  test('--params takes standard input and a file, so that they need not stand in the list of processes', async () => {
    bridge.answers.invoke = ({ params }) => ({ nodeId: 'x', invocationId: 'iv', data: params })
    const params = { text: 'x'.repeat(200_000) }
    const path = join(bridge.folder, 'params.json')
    writeFileSync(path, JSON.stringify(params))
    const invoke = ['invoke', 'a.b', '--node-id', 'x', '--json', '--params']
    const piped = await local([...invoke, '-'], { input: JSON.stringify(params) })
    const named = await local([...invoke, `@${path}`])
    expect([JSON.parse(piped.out).data, JSON.parse(named.out).data]).toEqual([params, params])
    expect((await local([...invoke, '@/none.json'])).code).toBe(2)
  })

  test('a conflict is 9, not_found is 4, each with one sentence', async () => {
    bridge.answers['node/revoke'] = () => {
      throw new Refusal('conflict', 'it changed meanwhile; look again')
    }
    expect(await local(['node', 'revoke', 'x'])).toEqual({
      code: 9,
      out: '',
      err: 'limb-bridge: it changed meanwhile; look again (conflict)\n',
    })
    bridge.answers['node/get'] = () => {
      throw new Refusal('not_found', 'there is no x')
    }
    expect((await local(['node', 'get', 'x'])).code).toBe(4)
  })

  test('no bridge there is 3 and says how to start one', async () => {
    const { code, err } = await run(['node', 'list', '--socket', join(bridge.folder, 'none.sock')])
    expect(code).toBe(3)
    expect(err).toContain('limb-bridge serve')
    const { err: relative } = await run(['node', 'list', '--socket', 'none/control.sock'])
    expect(relative).toContain(
      `cannot reach the bridge at ${resolve('none/control.sock')}: there is no such socket`,
    )
    expect(relative).toMatch(/the bridge's folder.*--socket.*--config/)
    const tooLong = await run(['node', 'list', '--socket', 'x'.repeat(200)])
    expect([tooLong.code, tooLong.err]).toEqual([3, expect.stringContaining('too long for a socket\n')])
    writeFileSync(join(bridge.folder, 'file'), '')
    expect((await run(['node', 'list', '--socket', join(bridge.folder, 'file')])).code).toBe(3)
  })

  test('a socket without a path is wrong usage', async () => {
    for (const argv of [['status'], ['watch'], ['simulate']]) {
      const { code, err } = await run([...argv, '--socket', ''])
      expect([code, err]).toEqual([2, expect.stringMatching(/^limb-bridge: --socket: there is no path.*\n$/)])
    }
  })

  test('what the bridge says of verbs is said of commands, and nothing else is touched', async () => {
    bridge.answers['node/get'] = () => {
      throw new Refusal(
        'not_found',
        'there is no x; see node/list, `pairing/list`. Not data/node/list or and/or',
      )
    }
    expect((await local(['node', 'get', 'x'])).err).toBe(
      'limb-bridge: there is no x; see `limb-bridge node list`, `limb-bridge pairing list`. Not data/node/list or and/or (not_found)\n',
    )
  })

  test('a bridge that does not answer is 3 after a bounded wait', async () => {
    bridge.answers['node/get'] = () => {
      throw SILENCE
    }
    const { systemClock } = await import('../../src/kernel/clock.ts')
    // Ten seconds as a tenth: what is waited for is the wait's end.
    const clock = {
      ...systemClock,
      after: (ms: number, task: () => void) => systemClock.after(ms / 100, task),
    }
    const { code, err } = await local(['node', 'get', 'x'], { clock })
    expect(code).toBe(3)
    expect(err).toContain('no answer to `limb-bridge node get` within 10 s')
    expect(err).toContain('role viewer')
  })

  test('a connection that ends while waiting is 3 at once', async () => {
    bridge.answers['node/get'] = () => {
      bridge.dropAll()
      throw SILENCE
    }
    const { code, err } = await local(['node', 'get', 'x'])
    expect(code).toBe(3)
    expect(err).toContain('not known')
  })

  test('a configuration with mistakes is 78', async () => {
    const { code, err } = await run(['node', 'list'], { env: { LIMB_HTTP_PORT: 'x' } })
    expect(code).toBe(78)
    expect(err).toContain('http.port')
  })
})

describe('where the control socket is', () => {
  beforeEach(() => {
    bridge.answers['node/list'] = () => ({ items: [] })
  })

  test('LIMB_CONTROL_SOCKET and the configuration name it', async () => {
    expect((await run(['node', 'list'], { env: { LIMB_CONTROL_SOCKET: bridge.socket } })).code).toBe(0)
    expect((await run(['node', 'list'], { env: { LIMB_DB: join(bridge.folder, 'limb.sqlite') } })).code).toBe(
      0,
    )
    const file = join(bridge.folder, 'c.yaml')
    writeFileSync(file, `control: {socket: ${bridge.socket}}\n`)
    expect((await run(['node', 'list', '--config', file])).code).toBe(0)
    expect((await run(['node', 'list'], { env: { LIMB_CONFIG: file } })).code).toBe(0)
  })
})

describe('a remote bridge', () => {
  let guarded: FakeBridge
  beforeEach(async () => {
    guarded = await startFakeBridge({ password: 'sesame-sesame' })
    guarded.answers['node/list'] = () => ({ items: [] })
  })
  afterEach(() => guarded.stop())
  const remote = (argv: string[], options?: RunOptions) =>
    run(['node', 'list', '--url', guarded.url, ...argv], options)

  test('signs in as the named principal and uses its topics', async () => {
    expect((await remote(['--user', 'bob'], { env: { LIMB_PASSWORD: 'sesame-sesame' } })).code).toBe(0)
    expect(guarded.requests[0]?.principal).toBe('bob')
  })

  test('takes the password from a file, without its newline', async () => {
    const file = join(guarded.folder, 'password')
    writeFileSync(file, 'sesame-sesame\n')
    expect((await remote(['--user', 'bob', '--password-file', file])).code).toBe(0)
  })

  test('asks for the password on a terminal, without echo', async () => {
    const started = start(['node', 'list', '--url', guarded.url, '--user', 'bob'], { terminal: true })
    await started.seen('Password of bob: ')
    started.stdin.write('sesame-sesamX\x7fe\r')
    const { code, out, err } = await started.exit
    expect(code).toBe(0)
    expect(out + err).not.toContain('sesame')
  })

  test('a wrong password is 3 and says so', async () => {
    const { code, err } = await remote(['--user', 'bob'], { env: { LIMB_PASSWORD: 'wrong' } })
    expect(code).toBe(3)
    expect(err).toContain('refused to sign bob in: wrong name or password')
  })

  test('too many wrong passwords are told as one of the reasons of code 3, with what to do', () => {
    const target = { endpoint: { kind: 'url', url: 'mqtt://x', ca: undefined } } as const
    const { exitCode, message } = connectionError(
      { ...target, principal: 'bob', password: 'x', root: 'limb' },
      Object.assign(new Error('no'), { code: 3 }),
    )
    expect(exitCode).toBe(3)
    expect(message).toMatch(
      /sign bob in: .*too many wrong passwords.*mqtt\.failedSignInSeconds.*control socket/,
    )
  })

  test('without a user, a password, or with one in the URL, it says what is missing', async () => {
    expect((await remote([])).err).toContain('--user')
    expect((await remote(['--user', 'bob'])).err).toContain('LIMB_PASSWORD')
    expect((await run(['node', 'list', '--url', 'mqtt://bob:secret@127.0.0.1'])).err).toContain(
      'leave the password out',
    )
    expect((await run(['node', 'list', '--url', 'http://x'])).code).toBe(2)
    expect((await run(['node', 'list', '--user', 'bob'])).code).toBe(2)
  })

  test('an address where nothing listens is 3', async () => {
    const { url } = guarded
    await guarded.stop()
    const { code, err } = await run(['node', 'list', '--url', url, '--user', 'bob'], {
      env: { LIMB_PASSWORD: 'x' },
    })
    expect([code, err]).toEqual([3, expect.stringContaining('nothing listens there')])
    guarded = await startFakeBridge()
  })

  test('--root leads to another topic root', async () => {
    const other = await startFakeBridge({ root: 'site/limb' })
    other.answers['node/list'] = () => ({ items: [] })
    expect((await run(['node', 'list', '--socket', other.socket, '--root', 'site/limb'])).code).toBe(0)
    await other.stop()
  })
})

describe('pairing approve and reject', () => {
  const requests = [
    request(),
    request({ requestId: 'r2', nodeId: 'cam2', revision: 7, code: 'LMNPQRST' }),
    request({ requestId: 'r3', nodeId: 'cam2', revision: 1, code: 'VWXYZBCD' }),
  ]
  beforeEach(() => {
    bridge.answers['pairing/list'] = () => ({ items: requests })
    bridge.answers['pairing/approve'] = ({ requestId }) => ({ nodeId: 'cam1', requestId })
    bridge.answers['pairing/reject'] = ({ requestId }) => ({ nodeId: 'cam1', requestId })
  })
  const decided = () => bridge.requests.filter(({ verb }) => verb !== 'pairing/list')

  test.each(['VWXYZBCD', 'vwxy zbcd', 'VWXY-ZBCD', 'r3'])(
    'take %s, whose code the device shows',
    async (text) => {
      expect((await local(['pairing', 'approve', text])).code).toBe(0)
      expect((await local(['pairing', 'reject', text])).code).toBe(0)
      expect(decided().map(({ args }) => args)).toEqual([
        { requestId: 'r3', revision: 1 },
        { requestId: 'r3' },
      ])
    },
  )

  test('take a limb of which only one request is pending', async () => {
    expect((await local(['pairing', 'approve', 'cam1'])).code).toBe(0)
    expect(decided()[0]?.args).toEqual({ requestId: 'r1', revision: 3 })
    const { code, err } = await local(['pairing', 'approve', 'cam2'])
    expect(code).toBe(1)
    expect(err).toMatch(/2 requests are meant by cam2[\s\S]*r2 of cam2, code LMNP QRST\n.*r3 of cam2/)
    expect(decided()).toHaveLength(1)
  })

  test('take nothing that two requests could mean, as a limb named after the code of another', async () => {
    bridge.answers['pairing/list'] = () => ({
      items: [...requests, request({ requestId: 'r4', nodeId: 'LMNPQRST' })],
    })
    expect((await local(['pairing', 'approve', 'LMNPQRST'])).code).toBe(1)
    expect(decided()).toEqual([])
  })

  test('what nothing is pending for is 4; an id goes to the bridge as it is, with the revision that was given', async () => {
    const { code, err } = await local(['pairing', 'approve', 'BBBBBBBB'])
    expect([code, err]).toEqual([4, expect.stringContaining('limb-bridge pairing list')])
    await local(['pairing', 'approve', 'pr_x', '--revision', '2'])
    await local(['pairing', 'approve', 'BCDFGHJK', '--revision', '2'])
    expect(decided().map(({ args }) => args)).toEqual([
      { requestId: 'pr_x', revision: 2 },
      { requestId: 'r1', revision: 2 },
    ])
  })
})

describe('secrets', () => {
  test('`-` reads a password from a pipe', async () => {
    bridge.answers['principal/add'] = ({ name }) => ({ name })
    await local(['principal', 'add', 'bob', 'viewer', '--password', '-'], { input: 'correct horse\nmore\n' })
    expect(bridge.requests[0]?.args).toEqual({ name: 'bob', role: 'viewer', password: 'correct horse' })
  })

  test('`-` asks on a terminal without echo, and Ctrl-C leaves', async () => {
    const started = start(
      ['principal', 'set-password', 'bob', '--password', '-', '--socket', bridge.socket],
      {
        terminal: true,
      },
    )
    await started.seen('password: ')
    started.stdin.write('abc\x03')
    expect((await started.exit).code).toBe(130)
    expect(bridge.requests).toEqual([])
  })
})

describe('pairing approve', () => {
  beforeEach(() => {
    bridge.answers['pairing/approve'] = ({ requestId }) => ({ requestId, nodeId: 'cam1' })
  })

  test('with an id it approves at once', async () => {
    expect((await local(['pairing', 'approve', 'pr_1', '--revision', '2'])).code).toBe(0)
    expect(bridge.requests).toEqual([
      { verb: 'pairing/approve', principal: 'admin', args: { requestId: 'pr_1', revision: 2 } },
    ])
  })

  test('without one it shows what is pending, asks for the code, and passes the revision it showed', async () => {
    bridge.answers['pairing/list'] = () => ({
      items: [request(), request({ requestId: 'r2', nodeId: 'cam2', revision: 7 })],
    })
    const started = start(['pairing', 'approve', '--socket', bridge.socket], { terminal: true })
    await started.seen('Which one?')
    expect(started.out()).toContain('BCDF GHJK')
    started.stdin.write('2\n')
    await started.seen('Does the device show code BCDF GHJK? [y/N]')
    started.stdin.write('y\n')
    expect((await started.exit).code).toBe(0)
    expect(bridge.requests.at(-1)).toMatchObject({
      verb: 'pairing/approve',
      args: { requestId: 'r2', revision: 7 },
    })
  })

  test('answers that were typed ahead are not lost', async () => {
    bridge.answers['pairing/list'] = () => ({ items: [request()] })
    const started = start(['pairing', 'approve', '--socket', bridge.socket], { terminal: true })
    await started.seen('Which one?')
    started.stdin.write('cam1\nyes\n')
    expect((await started.exit).code).toBe(0)
  })

  test('anything but yes approves nothing and says how to reject', async () => {
    bridge.answers['pairing/list'] = () => ({ items: [request({ conflict: true, kind: 'replace' })] })
    const started = start(['pairing', 'approve', '--socket', bridge.socket], { terminal: true })
    await started.seen('Which one?')
    started.stdin.write('\n')
    await started.seen('[y/N]')
    expect(started.out()).toContain('more than one device claims cam1')
    expect(started.out()).toContain('replaces its key')
    started.stdin.write('\n')
    const { code, err } = await started.exit
    expect([code, err]).toEqual([1, expect.stringContaining('pairing reject r1')])
    expect(bridge.requests.map((entry) => entry.verb)).toEqual(['pairing/list'])
  })

  test('the end of input at a question is no answer', async () => {
    bridge.answers['pairing/list'] = () => ({ items: [request()] })
    const started = start(['pairing', 'approve', '--socket', bridge.socket], { terminal: true })
    await started.seen('Which one?')
    started.stdin.end()
    expect((await started.exit).code).toBe(130)
  })

  test('without a terminal it prints the list and exits 2', async () => {
    bridge.answers['pairing/list'] = () => ({ items: [request()] })
    const { code, out, err } = await local(['pairing', 'approve'])
    expect([code, out, err]).toEqual([
      2,
      expect.stringContaining('cam1'),
      expect.stringContaining('pairing approve CODE'),
    ])
    bridge.answers['pairing/list'] = () => ({ items: [] })
    expect((await local(['pairing', 'approve'])).code).toBe(0)
  })
})

describe('node import', () => {
  const file = (lines: string[]) => {
    const path = join(bridge.folder, 'fleet.jsonl')
    writeFileSync(path, lines.join('\n'))
    return path
  }
  beforeEach(() => {
    bridge.answers['node/import'] = ({ nodes }) => ({
      items: (nodes as { nodeId: string }[]).map(({ nodeId }) => ({ nodeId, apiKey: `key-of-${nodeId}` })),
    })
  })

  test('sends every line and shows the keys', async () => {
    const { code, out, err } = await local([
      'node',
      'import',
      file(['{"nodeId":"a"}', '', '{"nodeId":"b","displayName":"B"}']),
    ])
    expect([code, err]).toEqual([0, '2 limbs imported\n'])
    expect(out).toContain('key-of-b')
    expect(bridge.requests[0]?.args).toEqual({ nodes: [{ nodeId: 'a' }, { nodeId: 'b', displayName: 'B' }] })
  })

  test('names every bad line by its number and imports nothing', async () => {
    const { code, err } = await local([
      'node',
      'import',
      file(['{"nodeId":"a"}', 'oops', '{"nodeId":"b/c"}', '{"nodeId":"a"}', '{}']),
    ])
    expect(code).toBe(2)
    expect(err).toMatch(
      /line 2: not JSON[\s\S]*line 3: nodeId[\s\S]*line 4: a stands in line 1[\s\S]*line 5: nodeId/,
    )
    expect(bridge.requests).toEqual([])
  })

  test('refuses a line with a key that no limb has, and says which one was meant', async () => {
    const { code, err } = await local([
      'node',
      'import',
      file(['{"nodeId":"a"}', '{"nodeId":"b","plattform":"x"}']),
    ])
    expect([code, err]).toEqual([
      2,
      expect.stringContaining('line 2: plattform: is no argument here; did you mean platform?'),
    ])
    expect(bridge.requests).toEqual([])
  })

  const fleet = (count: number) =>
    Array.from({ length: count }, (_, i) => JSON.stringify({ nodeId: `n${i}`, displayName: 'x'.repeat(80) }))
  const asked = (verb: string) => bridge.requests.filter((entry) => entry.verb === verb)
  const sizes = () => asked('node/import').map(({ args }) => (args.nodes as object[]).length)

  test('reads standard input, and sends limbs in requests of as many as one may have, in their order', async () => {
    bridge.answers['node/list'] = () => ({ items: [{ nodeId: 'other' }] })
    const { code, out, err } = await local(['node', 'import', '-', '--json'], {
      input: fleet(1200).join('\n'),
    })
    expect([code, err, sizes()]).toEqual([0, '1200 limbs imported\n', [500, 500, 200]])
    const names = JSON.parse(out).items.map(({ nodeId }: { nodeId: string }) => nodeId)
    expect(names).toEqual(Array.from({ length: 1200 }, (_, i) => `n${i}`))
  })

  test('makes no request larger, or with more in it, than the bridge takes', async () => {
    bridge.answers['node/list'] = () => ({ items: [] })
    const capabilities = Array.from({ length: 20 }, (_, i) => ({
      cap: `c${i}`,
      commands: Array.from({ length: 10 }, (_, j) => `c${i}.c${j}`),
      authLevel: 'free',
    }))
    const limbs = Array.from({ length: 120 }, (_, i) => ({ nodeId: `n${i}`, capabilities }))
    expect((await local(['node', 'import', file(limbs.map((limb) => JSON.stringify(limb)))])).code).toBe(0)
    const bytes = asked('node/import').map(({ args }) => Buffer.from(JSON.stringify(args)))
    expect(bytes.length).toBeGreaterThan(1)
    for (const each of bytes) expect(partBeyond(each, LIMITS.jsonParts)).toBeUndefined()
    expect(sizes().reduce((sum, size) => sum + size, 0)).toBe(120)
  })

  test('names limbs that are paired already before it imports the first of several requests', async () => {
    bridge.answers['node/list'] = () => ({ items: [{ nodeId: 'n700' }, { nodeId: 'other' }] })
    const { code, err } = await local(['node', 'import', file(fleet(800))])
    expect(code).toBe(9)
    expect(err).toContain('nothing was imported:\nline 701: n700 is paired already\n--skip-paired')
    expect(sizes()).toEqual([])
  })

  test('goes on where an import ended, when it is told to leave out what is paired', async () => {
    bridge.answers['node/list'] = () => ({ items: fleet(500).map((line) => JSON.parse(line)) })
    const { code, err } = await local(['node', 'import', file(fleet(600)), '--skip-paired'])
    expect([code, err]).toEqual([0, '500 limbs are paired already, and left out\n100 limbs imported\n'])
    expect(asked('node/import')[0]?.args.nodes).toMatchObject([{ nodeId: 'n500' }, ...Array(99).fill({})])
    expect((await local(['node', 'import', file(fleet(500)), '--skip-paired'])).err).toContain('0 limbs')
    expect(sizes()).toEqual([100])
  })

  test('shows the keys of what was imported before a request that fails, and where it ended', async () => {
    bridge.answers['node/list'] = () => ({ items: [] })
    const take = bridge.answers['node/import']
    bridge.answers['node/import'] = (args) => {
      if (sizes().length > 1) throw new Refusal('conflict', 'a principal is named n501; choose another name')
      return take?.(args)
    }
    const { code, out, err } = await local(['node', 'import', file(fleet(1100)), '--json'])
    const { items, error } = JSON.parse(out)
    expect([code, items.length, items[0].apiKey]).toEqual([1, 500, 'key-of-n0'])
    expect(error).toEqual({
      code: 'conflict',
      message: expect.stringMatching(
        /^500 of 1100 limbs are imported; from line 501 on nothing was imported: a principal is named n501/,
      ),
    })
    expect(err).toContain('--skip-paired goes on there')
  })

  test('ends at Ctrl-C behind the request that is under way, and shows the keys of its answer', async () => {
    bridge.answers['node/list'] = () => ({ items: [] })
    const take = bridge.answers['node/import']
    bridge.answers['node/import'] = (args) => {
      if (sizes().length === 2) running.interrupt()
      return take?.(args)
    }
    const running = start(['node', 'import', file(fleet(1100)), '--json', '--socket', bridge.socket])
    const { code, out, err } = await running.exit
    const { items, error } = JSON.parse(out)
    expect([code, items.length, items.at(-1).apiKey, sizes()]).toEqual([1, 1000, 'key-of-n999', [500, 500]])
    expect(error.message).toMatch(/^1000 of 1100 limbs are imported, and from line 1001 on nothing: it was/)
    expect(err).toContain('--skip-paired goes on there')
  })

  /** An import of which the first request is answered, and no other one. */
  const halfway = (...argv: string[]) => {
    bridge.answers['node/list'] = () => ({ items: [] })
    const take = bridge.answers['node/import']
    bridge.answers['node/import'] = (args) => {
      if (sizes().length === 1) return take?.(args)
      throw SILENCE
    }
    return start(['node', 'import', file(fleet(1100)), ...argv, '--socket', bridge.socket])
  }

  test.each([
    [
      '',
      (out: string) =>
        out
          .split('\n')
          .slice(1, -1)
          .map((line) => line.split(/ +/)),
    ],
    [
      '--jsonl',
      (out: string) =>
        out
          .split('\n')
          .slice(0, -1)
          .map((line) => Object.values(JSON.parse(line))),
    ],
    ['--json', (out: string) => JSON.parse(`${out}]}`).items.map(Object.values)],
  ] as const)(
    'shows keys %s as soon as they hold, so that they are not lost when it is killed',
    async (option, read) => {
      const running = halfway(...(option === '' ? [] : [option]))
      await running.seen('key-of-n499')
      await expect.poll(() => sizes()).toEqual([500, 500])
      expect(read(running.out())).toEqual(Array.from({ length: 500 }, (_, i) => [`n${i}`, `key-of-n${i}`]))
      running.interrupt()
      running.interrupt()
      expect((await running.exit).code).toBe(1)
    },
  )

  test('ends when nobody reads the keys any more, before it makes others', async () => {
    const running = halfway()
    const take = bridge.answers['node/import']
    bridge.answers['node/import'] = (args) => {
      running.readerGone()
      return take?.(args)
    }
    const { code, err } = await running.exit
    expect([code, sizes()]).toEqual([1, [500]])
    expect(err).toContain('500 of 1100 limbs are imported, and from line 501 on nothing: nobody reads on')
  })

  test('shows keys as a whole on a narrow terminal', async () => {
    const path = file([JSON.stringify({ nodeId: 'n'.repeat(60) })])
    const { out } = await run(['node', 'import', path, '--socket', bridge.socket], {
      terminal: true,
      columns: 40,
    })
    expect(out).toContain(`key-of-${'n'.repeat(60)}\n`)
  })

  test('shows at a second Ctrl-C the keys that it has, and says which have been lost', async () => {
    bridge.answers['node/list'] = () => ({ items: [] })
    const take = bridge.answers['node/import']
    bridge.answers['node/import'] = (args) => {
      if (sizes().length === 1) return take?.(args)
      running.interrupt()
      running.interrupt()
      throw SILENCE
    }
    const running = start(['node', 'import', file(fleet(1100)), '--json', '--socket', bridge.socket])
    const { items, error } = JSON.parse((await running.exit).out)
    expect(items).toHaveLength(500)
    expect(error.message).toMatch(
      /those from line 501 to line 1000 are too is not known.*--skip-paired goes on there, but not to the keys.*rotate-key/,
    )
  })
})
