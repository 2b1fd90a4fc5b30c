import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * `npm run test:systemd`: builds the packages and puts them through their life on a real systemd, in a throwaway
 * world (test/systemd/box). Skipped where the kernel permits no such world, but not in CI.
 */

const HERE = import.meta.dirname
const ROOT = join(HERE, '../..')
const RESULTS = join(ROOT, '.test-results')
/** The box's exit status for "not here". */
const SKIPPED = 77
/** Some four minutes on an idle machine. */
const LIMIT_MS = 15 * 60_000

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): number {
  const { status, error } = spawnSync(program, [...args], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
    timeout: LIMIT_MS,
  })
  if (error) throw error
  return status ?? 1
}

function build(version: string, out: string, env: NodeJS.ProcessEnv = {}): void {
  const args = ['scripts/package.ts', '--arch', 'amd64', '--version', version, '--out', out]
  const status = run(process.execPath, args, env)
  if (status !== 0) process.exit(status)
}

const out = mkdtempSync(join(tmpdir(), 'limb-systemd-'))
process.on('exit', () => rmSync(out, { recursive: true, force: true }))

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.log('test:systemd: skipped: the package under test is one for Linux on amd64')
  process.exit(0)
}
const probe = run(join(HERE, 'box'), ['/dev/null'])
if (probe === SKIPPED && process.env.CI !== 'true') process.exit(0)
if (probe !== 0) process.exit(1)

build('9.0.0', join(out, 'old'))
process.umask(0o077)
build('9.0.0', join(out, 'again'), { TZ: 'Pacific/Auckland', LC_ALL: 'C.UTF-8' })
process.umask(0o022)
build('9.0.1', join(out, 'new'))
const status = run(join(HERE, 'box'), [join(HERE, 'inside.sh')], { BOX_OUT: out })
mkdirSync(RESULTS, { recursive: true })
if (existsSync(join(out, 'systemd.json')))
  copyFileSync(join(out, 'systemd.json'), join(RESULTS, 'systemd.json'))
process.exit(status)
