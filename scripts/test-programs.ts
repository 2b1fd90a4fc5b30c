import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PAHO_2_PACKAGE, PAHO_2_ROOT, paho2 } from '../test/support/paho-2.ts'
import { missingPrograms } from '../test/support/programs.ts'

/**
 * Brings the foreign programs that the tests talk to, by apt-get where that may be: as root, or with a sudo that asks for
 * no password. Where it may not, it says so, and those tests are skipped by name. `--suite systemd` adds what
 * `npm run test:systemd` needs. `LIMB_TEST_INSTALL=no` installs nothing. What is optional is tried once and shortly, after
 * the rest: where it cannot be had, nothing fails.
 */

const ATTEMPTS = 3
/** Debian starts what it installs: a broker on port 1883, and a Prometheus. The tests start theirs, or none. */
const POLICY = '/usr/sbin/policy-rc.d'

const { values } = parseArgs({ options: { suite: { type: 'string', multiple: true } } })
const suites = ['test', ...(values.suite ?? [])] as const
const wanted = (optional = false) =>
  missingPrograms(suites.filter((suite) => suite === 'test' || suite === 'systemd')).filter(
    (program) => (program.optional === true) === optional,
  )
const SHORTLY = ['-o', 'Acquire::http::Timeout=15', '-o', 'Acquire::Retries=0']

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

/** One attempt: the lists are those of the last update, and where there are none, one is made. */
function installOptional(): void {
  const missing = wanted(true)
  if (missing.length === 0) return
  const names = missing.map((program) => program.package)
  const command = ['apt-get', '-qq', ...SHORTLY, 'install', '-y', '--no-install-recommends', ...names]
  if (asRootRun(command) || (asRootRun(['apt-get', '-qq', ...SHORTLY, 'update']) && asRootRun(command)))
    return
  console.log(`${names.join(' ')} cannot be had here: those tests are skipped`)
}

async function unpackPaho2(): Promise<void> {
  if (paho2() !== undefined) return
  try {
    const answer = await fetch(PAHO_2_PACKAGE.url, { signal: AbortSignal.timeout(15_000) })
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`)
    const bytes = Buffer.from(await answer.arrayBuffer())
    if (createHash('sha256').update(bytes).digest('hex') !== PAHO_2_PACKAGE.sha256)
      throw new Error('other bytes')
    mkdirSync(PAHO_2_ROOT, { recursive: true })
    const file = join(PAHO_2_ROOT, 'package.deb')
    writeFileSync(file, bytes)
    const unpacked = spawnSync('dpkg-deb', ['-x', file, PAHO_2_ROOT], { timeout: 15_000 })
    if (unpacked.status !== 0) throw new Error('dpkg-deb does not unpack it')
  } catch (error) {
    console.log(`Paho 2 cannot be had here (${String(error)}): its tests are skipped`)
  }
}

async function main(): Promise<void> {
  await installRequired()
  if (whyNot() === undefined) installOptional()
  if (process.env.LIMB_TEST_INSTALL !== 'no') await unpackPaho2()
}

async function installRequired(): Promise<void> {
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
