/**
 * Builds the web console into `console/dist/`, each file with its compressed forms.
 *
 *   --if-needed   only when the sources are others than at the last build; without Vite (an installation without
 *                 development dependencies) nothing is done and nothing fails: the bridge says at `/` what is missing.
 *
 * Plain JavaScript: `npm ci` runs it, perhaps with an older Node.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const CONSOLE = join(ROOT, 'console')
const DIST = join(CONSOLE, 'dist')
/** Built here and put in its place whole: whoever starts a bridge meanwhile has all of the old files, or of the new ones. */
const NEW = 'console/.new'
const OLD = 'console/.old'
/** Says from what sources the files beside it were built. */
const STAMP = '.sources'
const INPUTS = [
  'console/index.html',
  'console/package.json',
  'console/vite.config.ts',
  'console/src',
  'console/public',
  'src/protocol',
  'src/kernel',
  'scripts/console.js',
]
const COMPRESSED = ['.html', '.js', '.css', '.svg', '.webmanifest']

function filesBelow(path) {
  const full = join(ROOT, path)
  if (!existsSync(full)) return []
  if (extname(path) !== '') return [path]
  return readdirSync(full, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) =>
      entry.isDirectory() ? filesBelow(`${path}/${entry.name}`) : [`${path}/${entry.name}`],
    )
}

function sourcesHash() {
  const hash = createHash('sha256')
  for (const file of INPUTS.flatMap(filesBelow))
    hash.update(`${file}\0`).update(readFileSync(join(ROOT, file)))
  return hash.digest('hex')
}

function isBuilt(sources) {
  const stamp = join(DIST, STAMP)
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === sources
}

function isNewEnough() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 18)
}

function compress() {
  for (const file of filesBelow(NEW).filter((name) => COMPRESSED.includes(extname(name)))) {
    const bytes = readFileSync(join(ROOT, file))
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
    writeFileSync(join(ROOT, `${file}.br`), brotliCompressSync(bytes, { params }))
    writeFileSync(join(ROOT, `${file}.gz`), gzipSync(bytes, { level: 9 }))
  }
}

async function build(sources) {
  const { build: bundle } = await import('vite')
  const outDir = join(ROOT, NEW)
  await bundle({
    root: CONSOLE,
    configFile: join(CONSOLE, 'vite.config.ts'),
    logLevel: 'warn',
    build: { outDir },
  })
  compress()
  writeFileSync(join(outDir, STAMP), sources)
  const old = join(ROOT, OLD)
  rmSync(old, { recursive: true, force: true })
  if (existsSync(DIST)) renameSync(DIST, old)
  renameSync(outDir, DIST)
  rmSync(old, { recursive: true, force: true })
}

const onlyIfNeeded = process.argv.includes('--if-needed')
const sources = sourcesHash()
if (!onlyIfNeeded || !isBuilt(sources)) {
  const hasVite = existsSync(join(ROOT, 'node_modules/vite/package.json'))
  if (onlyIfNeeded && (!hasVite || !isNewEnough() || !existsSync(CONSOLE))) {
    process.stderr.write(
      'limb-bridge: the web console is not built here (it needs the development dependencies and Node 22.18)\n',
    )
  } else await build(sources)
}
