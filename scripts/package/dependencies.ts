import { copyFileSync, existsSync, mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import type { Arch } from './node-binary.ts'
import { ROOT, run } from './run.ts'

/** Production dependencies as the lockfile names them, without what never runs. */

const PREBUILDS: Readonly<Record<Arch, string>> = { amd64: 'linux-x64.node', arm64: 'linux-arm64.node' }
const RUNS = new Set(['.js', '.cjs', '.mjs', '.json', '.node', '.wasm'])
const LICENSE = /^(licen[cs]e|copying|notice|copyright)/i
/**
 * Sources of native code whose binary is beside them, tests, and the parts of mqtt.js for browsers and for a command
 * line of its own, with the packages that only these parts use.
 */
const UNUSED = new RegExp(
  [
    '/better-sqlite3/(deps|src)/',
    '/node_modules/\\.bin/',
    '/(test|tests|__tests__|benchmarks?)/',
    '/node_modules/mqtt/(dist|help|build/bin)/',
    '/node_modules/(commist|concat-stream|typedarray|buffer-from)/',
  ].join('|'),
)

/** `folder` gets a `node_modules` for that architecture. Nothing is compiled and no install script runs. */
export function installDependencies(folder: string, arch: Arch): void {
  mkdirSync(folder, { recursive: true })
  for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(ROOT, file), join(folder, file))
  run('npm', [
    'ci',
    '--omit=dev',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
    '--silent',
    '--prefix',
    folder,
  ])
  rmSync(join(folder, 'package-lock.json'))
  prune(join(folder, 'node_modules'), arch)
}

function prune(modules: string, arch: Arch): void {
  const files = readdirSync(modules, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
  const prebuild = join('better-sqlite3/prebuilds', PREBUILDS[arch])
  for (const file of files) if (!isKept(file, modules, prebuild)) rmSync(file)
  if (!existsSync(join(modules, prebuild))) throw new Error(`better-sqlite3 has no ${prebuild}`)
  removeEmpty(modules)
}

function isKept(file: string, modules: string, prebuild: string): boolean {
  if (extname(file) === '.node') return file === join(modules, prebuild)
  return isNeeded(file.slice(dirname(modules).length))
}

/** Returns whether a file of a package is one that runs, or its licence; `path` begins with `/node_modules/`. */
export function isNeeded(path: string): boolean {
  const name = basename(path)
  if (name === '.package-lock.json' || (UNUSED.test(path) && !LICENSE.test(name))) return false
  return LICENSE.test(name) || (RUNS.has(extname(name)) && !name.startsWith('.'))
}

function removeEmpty(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmpty(join(folder, entry.name))
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder)
}
