import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Command } from '../support/command.ts'

const PROJECT = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'limb-launcher-'))
afterAll(() => rmSync(folder, { recursive: true }))

// The launcher in a copy of the project’s layout, with a main.ts of its own.
const copy = join(folder, 'project')
const launcher = join(copy, 'bin/limb-bridge.js')
mkdirSync(join(copy, 'src'), { recursive: true })
for (const part of ['bin', 'limb-bridge']) cpSync(join(PROJECT, part), join(copy, part), { recursive: true })
writeFileSync(join(copy, 'package.json'), '{"type": "module"}')
symlinkSync(join(PROJECT, 'node_modules'), join(copy, 'node_modules'))
writeFileSync(
  join(copy, 'src/main.ts'),
  `const words: string[] = process.argv.slice(2)
process.on('SIGTERM', () => { console.log('SIGTERM'); process.exit(9) })
if (words[0] === 'wait') { console.log('waiting'); setInterval(() => {}, 1000) }
else if (words[0] === 'die') process.kill(process.pid, 'SIGKILL')
else { console.log(process.version, words.join(',')); process.exitCode = 5 }
`,
)

/** Makes a Node call itself older than what strips types, so that the launcher hands over to the other one. */
const PRETENDS = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })`
const handingOver = ['--import', `data:text/javascript,${encodeURIComponent(PRETENDS)}`]
// The system's own Node may be old too: then this is the real hand-over.
const systems = ['/usr/local/bin/node', '/usr/bin/node'].filter(
  (node) => spawnSync(node, ['--version']).status === 0,
)
const nodes: readonly (readonly [string, string, readonly string[]])[] = [
  ['the Node of the tests', process.execPath, []],
  ['a Node that hands over', process.execPath, handingOver],
  ...systems.map((node) => [node, node, []] as const),
]

describe('bin/limb-bridge.js', () => {
  test.each(nodes)('run by %s, it passes arguments, output and exit code through', (_name, node, args) => {
    const { status, stdout } = spawnSync(node, [...args, launcher, 'a', 'b c'], { encoding: 'utf8' })
    expect(status).toBe(5)
    expect(stdout).toMatch(/^v2[2-9]\.\d+\.\d+ a,b c\n$/)
  })

  test.each(nodes)(
    'run by %s, it passes a signal on, and ends as the bridge ended',
    async (_name, node, args) => {
      const child = spawn(node, [...args, launcher, 'wait'], { stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      child.kill('SIGTERM')
      expect(await once(child, 'exit')).toEqual([9, null])
      expect(spawnSync(node, [...args, launcher, 'die']).signal).toBe('SIGKILL')
    },
  )

  test.each(nodes)(
    'run by %s, it opens no debugger and goes on at SIGUSR1 and SIGUSR2, before the program looks after its signals',
    async (_name, node, args) => {
      const child = spawn(node, [...args, launcher, 'wait'], { stdio: 'pipe' })
      let said = ''
      child.stderr.on('data', (bytes: Buffer) => (said += String(bytes)))
      await once(child.stdout, 'data')
      for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGUSR1', 'SIGUSR2', 'SIGTERM'] as const)
        child.kill(signal)
      expect(await once(child, 'close')).toEqual([9, null])
      expect(said).toBe('')
    },
  )

  test.each(nodes.slice(1))(
    'run by %s, it leaves nobody behind when it is killed',
    async (_name, node, args) => {
      await using launched = new Command(node, [...args, launcher, 'wait'])
      await launched.line('waiting')
      const { pid } = launched.child
      const handedOver = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      launched.child.kill('SIGKILL')
      // Its end is that of the streams, which whoever was handed over to has as well.
      if (handedOver.trim() !== '') await launched.line('SIGTERM')
      await launched.ended
    },
  )

  test('does not wait for a channel that somebody else opened', async () => {
    const child = spawn(process.execPath, [launcher, 'a'], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { ...process.env, LIMB_HANDED_OVER: '1' },
    })
    expect(await once(child, 'exit')).toEqual([5, null])
  })
})

describe('./limb-bridge', () => {
  test('runs from any folder, through a link too', () => {
    const link = join(folder, 'link')
    symlinkSync(join(copy, 'limb-bridge'), link)
    const { status, stdout } = spawnSync(link, ['a', 'b c'], { encoding: 'utf8', cwd: '/' })
    expect(stdout).toMatch(/ a,b c\n$/)
    expect(status).toBe(5)
  })

  test('says what to do in a clone without packages', () => {
    const fresh = join(folder, 'fresh')
    mkdirSync(fresh)
    cpSync(join(PROJECT, 'limb-bridge'), join(fresh, 'limb-bridge'))
    const { status, stderr } = spawnSync(join(fresh, 'limb-bridge'), ['status'], { encoding: 'utf8' })
    expect(stderr).toContain(`run \`npm ci\` in ${fresh} first`)
    expect(status).toBe(70)
  })
})

describe('npm start', () => {
  // A `node` that shows what it was given.
  const shown = join(folder, 'shown')
  mkdirSync(shown)
  writeFileSync(
    join(shown, 'node'),
    '#!/bin/sh\necho "$MALLOC_TRIM_THRESHOLD_ $MALLOC_MMAP_THRESHOLD_ $*"\n',
    { mode: 0o755 },
  )
  const { scripts } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  const unit = readFileSync(join(PROJECT, 'systemd/limb-bridge.service'), 'utf8')
  const ofUnit = ['TRIM', 'MMAP'].map(
    (what) => new RegExp(`^Environment=MALLOC_${what}_THRESHOLD_=(\\d+)$`, 'm').exec(unit)?.[1] ?? 'none',
  )

  test.each(['start', 'dev', 'dev:postgres'])(
    '%s tells the C library what the unit tells it, or what you say',
    (name) => {
      const run = (env: Record<string, string>) =>
        spawnSync('sh', ['-c', scripts[name] ?? ''], {
          env: { PATH: `${shown}:${process.env.PATH}`, ...env },
          encoding: 'utf8',
        }).stdout
      expect(run({})).toMatch(new RegExp(`^${ofUnit.join(' ')} .*\\.(js|ts)`))
      expect(run({ MALLOC_TRIM_THRESHOLD_: '7', MALLOC_MMAP_THRESHOLD_: '8' })).toMatch(/^7 8 /)
    },
  )

  test('passes SIGTERM on to the bridge, which stops in order', async () => {
    const node = dirname(process.execPath)
    await using npm = new Command('npm', ['start', '--prefix', PROJECT], {
      PATH: `${node}:${process.env.PATH}`,
      LIMB_DB: join(folder, 'start/limb.sqlite'),
      LIMB_CONTROL_SOCKET: join(folder, 'control.sock'),
      LIMB_MQTT_PORT: '0',
      LIMB_HTTP_PORT: '0',
    })
    await npm.line(/"msg":"ready"/)
    npm.child.kill('SIGTERM')
    await npm.line(/"msg":"stopped"/)
    await npm.ended
  })
})
