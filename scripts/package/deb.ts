import { createHash } from 'node:crypto'
import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { MIGRATIONS, newestVersion } from '../../src/store/sqlite/schema/migrations.ts'
import { gzip, setModes, writeDeb } from './archive.ts'
import { installDependencies } from './dependencies.ts'
import { configManPage, manPage } from './man.ts'
import { type Arch, fetchNode } from './node-binary.ts'
import { ROOT, textOf } from './run.ts'

/** A Debian package that brings its own Node and needs nothing else that is not in a small Debian. */

export interface PackageOptions {
  readonly arch: Arch
  readonly version: string
  readonly epochSeconds: number
  readonly outFolder: string
}

/** What Node and better-sqlite3's prebuilt library link to (`readelf -V`); the units need systemd 250 for credentials. */
const DEPENDS = 'libc6 (>= 2.34), libgcc-s1 (>= 3.4), libstdc++6 (>= 11), systemd (>= 250)'
const DEBIAN = join(ROOT, 'packaging/debian')
const SCRIPTS = ['preinst', 'postinst', 'prerm', 'postrm'] as const
const CONFFILES = ['/etc/limb-bridge/limb-bridge.yaml']

/** The file that was written. `dist/` must be built. */
export async function buildDeb(options: PackageOptions): Promise<string> {
  const { arch, version, epochSeconds, outFolder } = options
  const work = mkdtempSync(join(tmpdir(), 'limb-deb-'))
  try {
    const tree = join(work, 'data')
    await fillTree(tree, options)
    fillControl(join(tree, 'DEBIAN'), tree, options)
    mkdirSync(outFolder, { recursive: true })
    const file = join(outFolder, `limb-bridge_${version}_${arch}.deb`)
    writeDeb({ tree, file, epochSeconds })
    return file
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function fillTree(tree: string, { arch, version, epochSeconds }: PackageOptions): Promise<void> {
  const put = (path: string, content: string | Buffer) => {
    mkdirSync(dirname(join(tree, path)), { recursive: true })
    writeFileSync(join(tree, path), content)
  }
  const copy = (from: string, path: string) => put(path, readFileSync(from))

  const lib = join(tree, 'usr/lib/limb-bridge')
  installDependencies(lib, arch)
  cpSync(join(ROOT, 'dist'), join(lib, 'dist'), { recursive: true })
  cpSync(join(ROOT, 'console/dist'), join(lib, 'console/dist'), { recursive: true })
  put('usr/lib/limb-bridge/package.json', packageJson(version))
  const { node, license } = fetchNode(arch, join(lib, 'bin'))
  copy(license, 'usr/share/doc/limb-bridge/LICENSE.nodejs')
  rmSync(license)

  copy(join(DEBIAN, 'limb-bridge.sh'), 'usr/bin/limb-bridge')
  copy(join(DEBIAN, 'limb-bridge.yaml'), 'etc/limb-bridge/limb-bridge.yaml')
  copy(join(DEBIAN, 'limb-bridge.sysusers'), 'usr/lib/sysusers.d/limb-bridge.conf')
  for (const unit of readdirSync(join(ROOT, 'systemd'))) {
    copy(join(ROOT, 'systemd', unit), `lib/systemd/system/${unit}`)
  }

  put('usr/share/man/man1/limb-bridge.1.gz', gzip(await manPage(version, epochSeconds)))
  put('usr/share/man/man5/limb-bridge.yaml.5.gz', gzip(configManPage(version, epochSeconds)))
  put('usr/share/bash-completion/completions/limb-bridge', completion('bash'))
  put('usr/share/zsh/vendor-completions/_limb-bridge', completion('zsh'))

  const doc = 'usr/share/doc/limb-bridge'
  copy(join(DEBIAN, 'copyright'), `${doc}/copyright`)
  copy(join(ROOT, 'LICENSE'), `${doc}/LICENSE`)
  put(`${doc}/changelog.gz`, gzip(readFileSync(join(ROOT, 'CHANGELOG.md'))))
  copy(join(ROOT, 'config/limb-bridge.yaml'), `${doc}/examples/limb-bridge.yaml`)
  for (const name of readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })) {
    if (lstatSync(join(ROOT, 'docs', name)).isFile()) copy(join(ROOT, 'docs', name), `${doc}/${name}`)
  }
  setModes(tree, [node, join(tree, 'usr/bin/limb-bridge')])
}

/** What the running bridge reads of it: that it is made of modules, and its version. */
function packageJson(version: string): string {
  const { name, description, license, type } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  return `${JSON.stringify({ name, version, description, license, type, private: true }, null, 2)}\n`
}

function completion(shell: string): string {
  return textOf(process.execPath, [join(ROOT, 'dist/main.js'), 'completion', shell])
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => lstatSync(join(folder, path)).isFile())
    .sort()
}

function fillControl(control: string, tree: string, { arch, version }: PackageOptions): void {
  const files = filesOf(tree)
  const kib = files.reduce((sum, path) => sum + Math.ceil(lstatSync(join(tree, path)).size / 1024), 0)
  const { description, homepage } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const fields = [
    'Package: limb-bridge',
    `Version: ${version}`,
    `Architecture: ${arch}`,
    'Maintainer: The Limb Bridge authors <limb-bridge@localhost>',
    `Installed-Size: ${kib}`,
    `Depends: ${DEPENDS}`,
    'Section: net',
    'Priority: optional',
    ...(typeof homepage === 'string' ? [`Homepage: ${homepage}`] : []),
    'Description: MQTT pairing, presence and access policy for fleets of devices',
    ` ${description}`,
    ' .',
    ' The package brings its own Node.js and runs as a confined systemd service.',
  ]
  mkdirSync(control)
  writeFileSync(join(control, 'control'), `${fields.join('\n')}\n`)
  writeFileSync(join(control, 'conffiles'), CONFFILES.map((path) => `${path}\n`).join(''))
  const sums = files
    .filter((path) => !CONFFILES.includes(`/${path}`))
    .map(
      (path) =>
        `${createHash('md5')
          .update(readFileSync(join(tree, path)))
          .digest('hex')}  ${path}\n`,
    )
  writeFileSync(join(control, 'md5sums'), sums.join(''))
  for (const script of SCRIPTS) {
    const source = readFileSync(join(DEBIAN, script), 'utf8')
      .replaceAll('@SCHEMA@', String(newestVersion(MIGRATIONS)))
      .replaceAll('@VERSION@', version)
    writeFileSync(join(control, script), source)
  }
  setModes(
    control,
    SCRIPTS.map((script) => join(control, script)),
  )
}
