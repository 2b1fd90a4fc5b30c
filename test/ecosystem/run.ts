import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * `npm run test:ecosystem`: programs that people use with the bridge, and nobody here wrote, against the bridge. They are
 * installed into a folder that goes with the run, and are no dependencies of the product. `LIMB_ECOSYSTEM_FOLDER` names a
 * folder in which they are already.
 */

const ROOT = join(import.meta.dirname, '../..')
const PROGRAMS = ['node-red@5.0.7', '@modelcontextprotocol/inspector@0.15.0', 'zigbee2mqtt@2.14.1']
const INSTALL_MS = 8 * 60_000
const SUITE_MS = 8 * 60_000

function run(file: string, args: readonly string[], cwd: string, timeout: number, env = {}): number {
  const ended = spawnSync(file, args, { cwd, timeout, stdio: 'inherit', env: { ...process.env, ...env } })
  if (ended.error) console.error(`${file}: ${ended.error.message}`)
  return ended.status ?? 1
}

function installed(folder: string): boolean {
  writeFileSync(join(folder, 'package.json'), '{"private": true}\n')
  // No scripts of packages, and nothing that has to be compiled.
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional', '--loglevel=error']
  return run('npm', ['install', ...quiet, ...PROGRAMS], folder, INSTALL_MS) === 0
}

function main(): number {
  const given = process.env.LIMB_ECOSYSTEM_FOLDER
  const folder = given ?? mkdtempSync(join(tmpdir(), 'limb-ecosystem-'))
  try {
    if (given === undefined && !installed(folder)) {
      console.error(`npm could not bring ${PROGRAMS.join(' and ')}`)
      return 1
    }
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
    const args = [vitest, 'run', '--config', 'test/ecosystem/vitest.config.ts']
    return run(process.execPath, args, ROOT, SUITE_MS, { LIMB_ECOSYSTEM_FOLDER: folder })
  } finally {
    if (given === undefined) rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = main()
