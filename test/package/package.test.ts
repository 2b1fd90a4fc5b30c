import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { setModes, writeDeb } from '../../scripts/package/archive.ts'
import { configManPage, manPage } from '../../scripts/package/man.ts'
import { NODE_VERSION } from '../../scripts/package/node-binary.ts'
import { item, text } from '../../scripts/package/roff.ts'
import { LEAVES } from '../../src/host/config/leaves.ts'
import { VERBS } from '../../src/protocol/verbs.ts'
import { skipWithout } from '../support/needs.ts'
import { patience } from '../support/patience.ts'

const ROOT = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'limb-package-'))
afterAll(() => rmSync(folder, { recursive: true }))

const CONTROL = `Package: odd
Version: 1
Architecture: all
Maintainer: Nobody <nobody@localhost>
Description: A package of the tests
`

describe('the Debian package', () => {
  it('brings the Node that the tests run on', () => {
    const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(devDependencies.node).toBe(NODE_VERSION)
  })

  const made = ['a', 'b'].map((name, i) => () => {
    const tree = join(folder, name)
    const control = join(tree, 'DEBIAN')
    for (const sub of i === 0 ? ['sub', 'DEBIAN'] : ['DEBIAN', 'sub'])
      mkdirSync(join(tree, sub), { recursive: true })
    for (const file of i === 0 ? ['x', 'sub/y'] : ['sub/y', 'x']) {
      writeFileSync(join(tree, file), file, { mode: i === 0 ? 0o600 : 0o666 })
    }
    writeFileSync(join(control, 'control'), CONTROL)
    utimesSync(join(tree, 'x'), i + 1, i + 1)
    setModes(tree, [join(tree, 'sub/y')])
    const file = join(folder, `${name}.deb`)
    writeDeb({ tree, file, epochSeconds: 1_700_000_000 })
    return file
  })

  it('has an archive that depends on content alone: not on times, order or umask of writing', (context) => {
    skipWithout(context, 'dpkg-deb')
    const [a, b] = made.map((make) => readFileSync(make()))
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true)
  })

  it('is an archive that dpkg reads: of root, with the modes and the time that it was given', (context) => {
    skipWithout(context, 'dpkg-deb')
    const file = made[0]?.() ?? ''
    const text = execFileSync('dpkg-deb', ['--contents', file], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    })
    const lines = text.trim().split('\n')
    expect(lines.map((line) => line.replace(/ +/g, ' '))).toEqual([
      'drwxr-xr-x root/root 0 2023-11-14 22:13 ./',
      'drwxr-xr-x root/root 0 2023-11-14 22:13 ./sub/',
      '-rwxr-xr-x root/root 5 2023-11-14 22:13 ./sub/y',
      '-rw-r--r-- root/root 1 2023-11-14 22:13 ./x',
    ])
    expect(execFileSync('dpkg-deb', ['--field', file, 'Package'], { encoding: 'utf8' }).trim()).toBe('odd')
  })

  it('has maintainer scripts that a shell can read', () => {
    for (const script of ['preinst', 'postinst', 'prerm', 'postrm', 'limb-bridge.sh']) {
      execFileSync('sh', ['-n', join(ROOT, 'packaging/debian', script)])
    }
  })
})

describe('the manual', () => {
  it('has every verb and every setting', async () => {
    const page = await manPage('1.2.3', 0)
    for (const verb of Object.keys(VERBS)) expect(page).toContain(`"${text(verb.replace('/', ' '))}`)
    const config = configManPage('1.2.3', 0)
    for (const { path } of LEAVES) expect(config).toContain(`.B "${path}"`)
  })

  it('lets no text become a request, an escape or a hyphen that cannot be copied', () => {
    expect(text(".SH evil\n'also\nback\\slash --json")).toBe("\\&.SH evil\n\\&'also\nback\\eslash \\-\\-json")
    expect(item('say "hi"', '`x` is code')).toBe('.TP\n.B "say \\(dqhi\\(dq"\n\\fBx\\fR is code')
  })
})

describe('the npm package', () => {
  const unpacked = join(folder, 'package')
  beforeAll(() => {
    const [packed] = JSON.parse(
      execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', folder], {
        cwd: ROOT,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    )
    execFileSync('tar', ['-xzf', join(folder, packed.filename), '-C', folder])
    symlinkSync(join(ROOT, 'node_modules'), join(unpacked, 'node_modules'))
  }, patience(120_000))

  it('holds the built program and no sources, tests or packages', () => {
    for (const path of [
      'dist/main.js',
      'dist/client/client.js',
      'dist/client/client.d.ts',
      'console/dist/index.html',
      'examples/typescript/camera.ts',
      'bin/limb-bridge.js',
      'config/limb-bridge.yaml',
      'docs/protocol.md',
      'docs/protocol/limbs.md',
    ]) {
      expect(existsSync(join(unpacked, path))).toBe(true)
    }
    for (const path of ['src', 'test', 'scripts', 'release', '.ci'])
      expect(existsSync(join(unpacked, path))).toBe(false)
  })

  it('runs from where it was unpacked', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const run = (...args: string[]) =>
      execFileSync(process.execPath, [join(unpacked, 'bin/limb-bridge.js'), ...args], { encoding: 'utf8' })
    expect(run('--version').trim()).toBe(version)
    expect(run('config', 'check', join(unpacked, 'config/limb-bridge.yaml'))).toContain('is sound')
  })
})
