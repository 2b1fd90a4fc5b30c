import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { buildProgram } from '../../src/cli/command-line.ts'
import { displayWidth, spokenCode, table } from '../../src/cli/terminal/text.ts'
import { parseTime } from '../../src/cli/terminal/times.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { VERBS } from '../../src/protocol/verbs.ts'
import { run } from './run.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'limb-line-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('the command line', () => {
  test('--help teaches the first steps and the exit codes', async () => {
    const { code, out } = await run(['--help'])
    expect(code).toBe(0)
    for (const text of ['serve', 'simulate', 'pairing approve', 'watch', 'Exit codes'])
      expect(out).toContain(text)
  })

  test('what cannot be written is told in a sentence, and is 1', () => {
    const full = openSync('/dev/full', 'w')
    try {
      const { status, stderr } = spawnSync(process.execPath, [MAIN, 'completion', 'bash'], {
        stdio: ['ignore', full, 'pipe'],
        encoding: 'utf8',
      })
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: 'limb-bridge: cannot write: ENOSPC: no space left on device, write\n',
      })
    } finally {
      closeSync(full)
    }
  })

  test('--version is the version alone', async () => {
    expect(await run(['--version'])).toEqual({ code: 0, out: '1.2.3\n', err: '' })
  })

  test('wrong usage is 2, on standard error', async () => {
    for (const argv of [[], ['nonsense'], ['serve', '--nonsense'], ['node'], ['completion', 'tcsh']]) {
      const { code, out, err } = await run(argv)
      expect([code, out, err !== '']).toEqual([2, '', true])
    }
  })

  test.each([
    [['policy', 'set', 'a', 'b'], "missing required argument 'capability'"],
    [['policy', 'set', 'a', 'b', 'c', 'gated', 'e'], 'too many arguments'],
    [['policy', 'set', 'a b', 'cam1', 'camera', 'gated'], '<principal>: must be 1 to 63 letters'],
    [['policy', 'set', 'a', 'cam1', 'camera', 'loose'], "'loose' is invalid for argument 'level'"],
  ])('says of %j what is wrong, and shows the form', async (argv, text) => {
    const { code, err } = await run(argv)
    expect([code, err]).toEqual([2, expect.stringContaining(text)])
    expect(err.trimEnd().split('\n').slice(1)).toEqual([
      'usage: limb-bridge policy set [options] <principal> <node-id> <capability> <level>',
    ])
  })

  test('shows the form of a window without its seconds, or with other ones', async () => {
    const form = 'usage: limb-bridge pairing permit [options] <seconds>\n'
    for (const seconds of [[], ['5x'], ['99999'], ['300', '10']]) {
      expect((await run(['pairing', 'permit', ...seconds])).err).toMatch(
        new RegExp(`.\n${form.replaceAll('[', '\\[')}$`),
      )
    }
  })

  test('serve is handed the configuration file, and its exit code is ours', async () => {
    const seen: object[] = []
    const serve = async (options: object) => {
      seen.push(options)
      return 7
    }
    expect((await run(['serve', '--config', 'a.yaml'], { serve })).code).toBe(7)
    await run(['serve'], { serve })
    expect(seen).toEqual([{ configFile: 'a.yaml' }, {}])
  })

  test('what nobody expected is 70, with its stack', async () => {
    const serve = async () => {
      throw new TypeError('broken invariant')
    }
    const { code, err } = await run(['serve'], { serve })
    expect([code, err]).toEqual([70, expect.stringMatching(/broken invariant[\s\S]* at /)])
  })
})

describe('config', () => {
  const file = join(folder, 'bridge.yaml')

  test('check names every mistake with its line, and exits 78', async () => {
    writeFileSync(file, 'mqtt:\n  prot: 1\n  port: -1\n')
    const { code, err } = await run(['config', 'check', file])
    expect(code).toBe(78)
    expect(err).toContain(`${file}:2: mqtt.prot: unknown key; did you mean mqtt.port?`)
    expect(err).toContain(`${file}:3: mqtt.port: found -1`)
  })

  test('check looks at the file alone', async () => {
    writeFileSync(file, 'mqtt: {port: 1884}\n')
    const { code, out } = await run(['config', 'check', file], { env: { LIMB_MQTT_PORT: 'x' } })
    expect([code, out]).toEqual([0, `${file} is sound\n`])
  })

  test('check takes the file as serve does, too, and wants one', async () => {
    writeFileSync(file, 'mqtt: {port: 1884}\n')
    expect(await run(['config', 'check', '--config', file])).toMatchObject({
      code: 0,
      out: `${file} is sound\n`,
    })
    expect((await run(['config', 'check', file, '--config', file])).code).toBe(0)
    expect(await run(['config', 'check'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('name the file: limb-bridge config check FILE'),
    })
    expect((await run(['config', 'check', file, '--config', 'b.yaml'])).err).toContain(
      'name one file, not two',
    )
  })

  test('check does not call a file sound without a word when it has warned of something', async () => {
    const absent = join(folder, 'absent.pem')
    writeFileSync(file, `tls: {enabled: true, certFile: ${absent}, keyFile: ${absent}}\n`)
    const { code, out, err } = await run(['config', 'check', file])
    const warnings = err.split('\n').filter((line) => line.startsWith('warning: ')).length
    expect(warnings).toBeGreaterThan(0)
    const but = warnings === 1 ? 'the warning above' : `the ${warnings} warnings above`
    expect([code, out]).toEqual([0, `${file} is sound, apart from ${but}\n`])
  })

  test('show prints what holds, from where, without secrets', async () => {
    writeFileSync(file, 'http: {token: 0123456789abcdef}\n')
    const env = { LIMB_CONFIG: file, LIMB_LOG_LEVEL: 'debug', LIMB_LOGLEVEL: 'x' }
    const { code, out, err } = await run(['config', 'show'], { env })
    expect(code).toBe(0)
    expect(out).toMatch(/level: debug +# LIMB_LOG_LEVEL/)
    expect(out).toMatch(new RegExp(`token: "?\\(hidden\\)"? +# ${file}`))
    expect(out).not.toContain('0123456789abcdef')
    expect(err).toContain('did you mean LIMB_LOG_LEVEL?')
    const json = JSON.parse((await run(['config', 'show', '--json'], { env })).out)
    expect(json).toContainEqual({ key: 'http.token', value: '(hidden)', source: file })
  })
})

describe('completion', () => {
  const complete = (script: string, ...words: string[]) => {
    const line = words.map((word) => `'${word}'`).join(' ')
    const source = `${script}\nCOMP_WORDS=(limb-bridge ${line}); COMP_CWORD=${words.length}; _limb_bridge; printf '%s\\n' "\${COMPREPLY[@]}"`
    return execFileSync('bash', ['-c', source], { encoding: 'utf8' }).trim().split('\n')
  }

  test('bash completes commands, verbs, options and choices from the table', async () => {
    const { out } = await run(['completion', 'bash'])
    expect(complete(out, 'pai')).toEqual(['pairing'])
    expect(complete(out, 'pairing', '')).toEqual(
      expect.arrayContaining(['approve', 'list', 'permit', 'reject']),
    )
    expect(complete(out, 'node', 'list', '--st')).toEqual(['--status'])
    expect(complete(out, 'node', 'list', '--status', 'o')).toEqual(['online', 'offline'])
    expect(complete(out, 'policy', 'set', 'agent1', 'cam1', 'camera', 'g')).toEqual(['gated'])
    // A limb named like a command does not lead astray.
    expect(complete(out, 'node', 'get', 'list', '--js')).toEqual(['--json'])
  })

  test.each(['bash', 'zsh', 'fish'])('%s knows every verb', async (shell) => {
    const { out } = await run(['completion', shell])
    for (const verb of Object.keys(VERBS)) expect(out).toContain(verb.split('/').at(-1))
  })

  test('the scripts are accepted by the shells that are here', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { out } = await run(['completion', shell])
      const check = spawnSync(shell, ['-n'], { input: out, encoding: 'utf8' })
      if (check.error === undefined) expect(check.stderr).toBe('')
    }
  })
})

describe('times', () => {
  const now = Date.parse('2026-03-04T05:06:07.890Z')

  test.each([
    ['2026-01-31', '2026-01-31T00:00:00.000Z'],
    ['2026-01-31T12:00Z', '2026-01-31T12:00:00.000Z'],
    ['2026-01-31T12:00:00.5+02:00', '2026-01-31T10:00:00.500Z'],
    ['90s', '2026-03-04T05:04:37.890Z'],
    ['2h', '2026-03-04T03:06:07.890Z'],
    ['7d', '2026-02-25T05:06:07.890Z'],
  ])('%s is %s', (text, time) => expect(parseTime(text, now)).toBe(time))

  test.each(['', 'yesterday', '2', '2w', '-2h', '2026-02-31', '2026-01-31T12:00', '99999d', '2026-13-01'])(
    '%j is none',
    (text) => expect(parseTime(text, now)).toBeUndefined(),
  )

  test('help says which are understood, and which values an argument takes', async () => {
    const help = async (...argv: string[]) => (await run([...argv, '--help'])).out.replace(/\s+/g, ' ')
    expect(await help('audit', 'list')).toContain('2h for two hours ago')
    expect(await help('node', 'history')).toContain('2h for two hours ago')
    expect(await help('policy', 'set')).toMatch(/Arguments: .*level .*"free", "leased", "gated", "denied"/)
    expect(await help('principal', 'add')).toMatch(
      /Arguments: .*role .*"viewer", "agent", "operator", "admin"/,
    )
    expect(await help()).toContain('--follow or --jsonl')
  })
})

describe('tables', () => {
  test('columns stay aligned with wide and combining characters', () => {
    const rows = [{ name: '温度計' }, { name: 'cafe\u0301' }, { name: 'x' }]
    const lines = table(
      [
        { title: 'NAME', value: (row) => row.name },
        { title: 'END', value: () => '|' },
      ],
      rows,
    )
      .trimEnd()
      .split('\n')
    const ends = lines.map((line) =>
      displayWidth(line.slice(0, Math.max(line.indexOf('|'), line.indexOf('END')))),
    )
    expect(new Set(ends).size).toBe(1)
  })

  test('a pairing code is shown as it is read aloud', () => {
    expect(spokenCode('BCDFGHJK')).toBe('BCDF GHJK')
    expect(spokenCode(undefined)).toBe('')
  })
})

describe('main.ts', () => {
  const root = join(import.meta.dirname, '../..')
  const hook = `import { registerHooks } from 'node:module'
registerHooks({ load(url, context, next) { console.error('loads', url); return next(url, context) } })`
  const loadedBy = (...argv: string[]) =>
    spawnSync(
      process.execPath,
      ['--import', `data:text/javascript,${encodeURIComponent(hook)}`, join(root, 'src/main.ts'), ...argv],
      { encoding: 'utf8', env: { PATH: process.env.PATH } },
    ).stderr

  test('a client loads neither the bridge nor its database, server and log, so that it answers at once', () => {
    const loaded = loadedBy('status', '--socket', join(folder, 'nobody.sock'))
    expect(loaded).toContain('src/cli/commands/status.ts')
    expect(loaded).toContain('there is no such socket')
    for (const part of [
      'src/app.ts',
      'src/serve.ts',
      'src/host/doctor',
      'src/host/config/show.ts',
      'src/cli/mcp',
      'src/cli/verbs',
      'better-sqlite3',
      'fastify',
      'aedes',
      'pino',
      'prom-client',
      'node_modules/yaml',
    ])
      expect(loaded).not.toContain(part)
  })

  test('one command is built when one is asked for', async () => {
    const never = async () => {
      throw new Error('nothing is run here')
    }
    const { stdin, stdout, stderr } = process
    const context = {
      io: { stdin, stdout, stderr, env: {}, onInterrupt: () => () => {} },
      clock: systemClock,
      configuration: { load: never },
      maintenance: { restore: never, doctor: never, initTls: never, copyStore: never },
      version: '1.2.3',
      serve: never,
      checkDevice: never,
    }
    const built = async (...asked: string[]) => {
      const { commands } = await buildProgram(context, () => never, asked)
      return commands.flatMap((command) => [command, ...command.commands]).map((command) => command.name())
    }
    expect(await built('node', 'get')).toEqual(['node', 'get'])
    expect(await built('invoke', 'camera.snap')).toEqual(['invoke'])
    expect(await built('status')).toEqual(['status'])
  })

  test('what is built for one command is what the whole tree has of it', async () => {
    const { code, out } = await run(['completion', 'bash'])
    expect(code).toBe(0)
    const paths = Object.keys(VERBS).map((verb) => verb.split('/'))
    const own = ['serve', 'status', 'watch', 'restore', 'doctor', 'simulate', 'mcp'].map((word) => [word])
    for (const path of [...paths, ...own, ['config', 'check'], ['config', 'show'], ['completion']]) {
      const place = path.join(' ')
      const [, words = ''] = new RegExp(`^    '${place}'\\) words='(.*)' ;;$`, 'm').exec(out) ?? []
      const help = await run([...path, '--help'])
      expect(help.code, place).toBe(0)
      expect(words, place).toContain('--help')
      for (const flag of words.split(' ').filter((word) => word.startsWith('--')))
        expect(help.out, place).toContain(flag)
    }
  })

  test.each([
    [['nod', 'list'], 'Did you mean node?'],
    [['node', 'lst'], 'Did you mean list?'],
    [['node', 'hist'], 'Did you mean history?'],
    [['node', 're'], 'Did you mean one of rename, revoke?'],
    [['node', 'show', 'cam1'], 'Did you mean one of get, list?'],
    [['node', 'shwo', 'cam1'], 'Did you mean one of get, list?'],
    [['principal', 'rm', 'ann'], 'Did you mean remove?'],
    [['node', 'approve', 'cam1'], '`limb-bridge pairing approve` or `limb-bridge invocation approve`?'],
    [['histroy', 'cam1'], '`limb-bridge node history`?'],
    [['rename', 'cam1'], '\n`limb-bridge node rename`? `limb-bridge --help`'],
    [['lsit'], '`limb-bridge node list` or '],
    [['policies'], 'Did you mean policy?'],
    [['devices', 'list'], 'Did you mean node?'],
    [['statsu'], 'Did you mean status?'],
    [['audit', 'list', '--node', 'cam1'], 'Did you mean --node-id?'],
    [['token', 'add', 'x', '--days', '5'], 'Did you mean --expires-in-days?'],
    [['help', 'node'], 'history'],
    [['node'], 'rename'],
    [['help'], 'completion'],
    [['--help'], 'simulate'],
  ])('%j is answered from the whole tree', async (argv, text) => {
    const { out, err } = await run(argv)
    expect(out + err).toContain(text)
  })
})
