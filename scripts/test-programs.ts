import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { missingPrograms } from '../test/support/programs.ts'

/**
 * Brings the foreign programs that the tests talk to, by apt-get where that may be: as root, or with a sudo that asks for
 * no password. Where it may not, it says so, and those tests are skipped by name. `--suite systemd` adds what
 * `npm run test:systemd` needs. `LIMB_TEST_INSTALL=no` installs nothing.
 */

const ATTEMPTS = 3
/** Debian starts what it installs: a broker on port 1883, and a Prometheus. The tests start theirs, or none. */
const POLICY = '/usr/sbin/policy-rc.d'

const { values } = parseArgs({ options: { suite: { type: 'string', multiple: true } } })
const suites = ['test', ...(values.suite ?? [])] as const
const wanted = () => missingPrograms(suites.filter((suite) => suite === 'test' || suite === 'systemd'))

/** What goes before a command of root's; undefined when nobody here may be root. */
function asRoot(): readonly string[] | undefined {
  if (process.geteuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true']).status === 0 ? ['sudo', '-n'] : undefined
}

function whyNot(): string | undefined {
  if (process.env.LIMB_TEST_INSTALL === 'no') return 'LIMB_TEST_INSTALL is no'
  if (!existsSync('/usr/bin/apt-get')) return 'there is no apt-get here'
  return asRoot() === undefined ? 'only root may install them' : undefined
}

function asRootRun(command: readonly string[], input?: string): boolean {
  const [file = '', ...args] = [...(asRoot() ?? []), ...command]
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync(file, args, { env, input, stdio: ['pipe', 'ignore', 'inherit'] }).status === 0
}

/** Another apt may hold the lock, and a mirror may hiccup. */
async function apt(...args: readonly string[]): Promise<boolean> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const options = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3', '-qq']
    if (asRootRun(['apt-get', ...options, ...args])) return true
    console.log(`apt-get ${args[0]}: attempt ${attempt} of ${ATTEMPTS} failed`)
    await new Promise((resolve) => setTimeout(resolve, attempt * 5000))
  }
  return false
}

async function install(packages: readonly string[]): Promise<boolean> {
  const guarded = !existsSync(POLICY) && asRootRun(['tee', POLICY], '#!/bin/sh\nexit 101\n')
  if (guarded) asRootRun(['chmod', '755', POLICY])
  try {
    // An update that fails may still leave lists that are good enough.
    if (!(await apt('update'))) console.log('apt-get update failed; its lists may be old')
    return await apt('install', '-y', '--no-install-recommends', ...packages)
  } finally {
    if (guarded) asRootRun(['rm', '-f', POLICY])
  }
}

async function main(): Promise<void> {
  const missing = wanted()
  if (missing.length === 0) return
  const packages = missing.map((program) => program.package)
  const list = missing.map((program) => `  ${program.package}: ${program.why}`).join('\n')
  const reason = whyNot()
  if (reason === undefined) {
    console.log(`installing with apt-get what the tests talk to:\n${list}`)
    if (await install(packages)) return
  }
  const left = wanted().map((program) => program.package)
  if (left.length === 0) return
  console.log(
    `not here${reason === undefined ? '' : `, and ${reason}`}:\n${list}\n` +
      `Tests that need them are skipped by name (in CI they fail); \`apt-get install ${left.join(' ')}\` brings them.`,
  )
}

if (import.meta.main) await main()
