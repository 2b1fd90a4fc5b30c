import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { lockfile, manifest, runtimePackages } from '../../scripts/dependencies.ts'
import { patience } from '../support/patience.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** None of these asks a product that uses the bridge for more than a notice. */
const ALLOWED = [
  'MIT',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
  'Unlicense',
]

describe('what runs with the bridge', () => {
  test('is under licences that allow everybody to use it', () => {
    const others = runtimePackages().filter(([, { license }]) => !ALLOWED.includes(license ?? 'unknown'))
    expect(others.map(([name, { license }]) => `${name}: ${license}`)).toEqual([])
  })

  test('is locked with a checksum, and comes from nowhere but a registry', () => {
    const text = JSON.stringify(lockfile())
    expect(text).not.toMatch(/"resolved":"(?:git|file|http:)/)
    const loose = Object.entries(lockfile() as Record<string, { integrity?: string; link?: boolean }>)
      .filter(([path, { link }]) => path.includes('node_modules/') && link !== true)
      .filter(([, { integrity }]) => integrity === undefined)
      .map(([path]) => path)
    expect(loose).toEqual([])
  })

  test('needs no compiler: npm takes the prebuilt library of the database, because the lockfile says so too', () => {
    // npm ci looks for `gypfile` in the lockfile alone, which `npm install` writes without it: add it again then.
    const entry = (lockfile() as Record<string, { gypfile?: boolean }>)['node_modules/better-sqlite3']
    expect(entry?.gypfile).toBe(false)
  })

  test('is used: no package is asked for that nothing imports', () => {
    const { stdout } = spawnSync('grep', ['-rhoE', `['"](@[a-z-]+/)?[a-z0-9-]+[/'"]`, 'src', 'bin', 'test'], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    const named = new Set(stdout.split('\n').map((text) => text.slice(1, -1)))
    const unused = Object.keys(manifest().dependencies).filter((name) => !named.has(name))
    expect(unused).toEqual([])
  })

  test('pins the broker exactly, because private parts of it are relied on', () => {
    const { dependencies } = manifest()
    for (const name of ['aedes', 'aedes-persistence', 'mqtt', 'mqtt-packet']) {
      expect(dependencies[name], name).toMatch(/^\d+\.\d+\.\d+$/)
    }
    const installed = JSON.parse(readFileSync(resolve(ROOT, 'node_modules/aedes/package.json'), 'utf8'))
    expect(installed.version).toBe(dependencies.aedes)
  })

  test('has no known hole, where the registry can be asked', { timeout: patience(30_000) }, (context) => {
    const { stdout } = spawnSync(
      'npm',
      ['audit', '--omit=dev', '--json', '--fetch-retries=0', '--fetch-timeout=20000'],
      {
        cwd: ROOT,
        encoding: 'utf8',
        timeout: patience(25_000),
      },
    )
    const report = parsed(stdout)
    if (report?.metadata === undefined) {
      console.warn(`npm audit was not answered: ${report?.message ?? 'no answer'}`)
      context.skip('the registry does not answer npm audit')
      return
    }
    const holes = Object.values(report.vulnerabilities ?? {}).map(
      ({ name, severity }) => `${name}: ${severity}`,
    )
    expect(holes).toEqual([])
  })
})

interface AuditReport {
  readonly metadata?: object
  readonly message?: string
  readonly vulnerabilities?: Readonly<Record<string, { name: string; severity: string }>>
}

function parsed(text: string | null): AuditReport | null {
  try {
    return JSON.parse(text ?? '') as AuditReport
  } catch {
    return null
  }
}
