import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type Plugin, rolldown } from 'rolldown'
import { ROOT, run } from './package/run.ts'

/**
 * Builds the npm package `limb-bridge-client` from `src/client`: for Node as ES module and CommonJS, for browsers with
 * and without its two dependencies, and its types twice, because a declaration file belongs to one module form.
 *
 *   --out FOLDER   in place of `dist` in the package's folder
 */
const SRC = join(ROOT, 'src')
const out = resolve(
  process.argv[2] === '--out' ? String(process.argv[3]) : join(ROOT, 'packages/limb-bridge-client/dist'),
)

/** What a browser has not, and the file that stands for it there. */
const IN_BROWSERS: Readonly<Record<string, string>> = {
  './key-file.ts': join(SRC, 'client/browser/key-file.ts'),
  'node:net': join(SRC, 'client/browser/sockets.ts'),
}
const forBrowsers: Plugin = {
  name: 'for-browsers',
  resolveId: (name) => IN_BROWSERS[name] ?? null,
}

interface Form {
  readonly entry: string
  readonly file: string
  readonly format: 'esm' | 'cjs'
  readonly browser?: boolean
  /** Has mqtt and zod in itself. */
  readonly whole?: boolean
}

async function bundle({ entry, file, format, browser = false, whole = false }: Form): Promise<void> {
  const build = await rolldown({
    input: join(SRC, 'client', entry),
    platform: browser ? 'browser' : 'node',
    external: whole ? [] : ['mqtt', 'zod', ...(browser ? [] : [/^node:/])],
    plugins: browser ? [forBrowsers] : [],
    logLevel: 'warn',
  })
  await build.write({ file: join(out, file), format, minify: whole, exports: 'named' })
  await build.close()
}

/** The declarations of the files that the client consists of, each imported by a name that every compiler finds. */
function declarations(): void {
  const folder = mkdtempSync(join(ROOT, 'node_modules/.client-types-'))
  try {
    const tsc = join(ROOT, 'node_modules/.bin/tsc')
    const only = ['--emitDeclarationOnly', '--declaration', '--noEmit', 'false', '--outDir', folder]
    run(tsc, ['--project', join(ROOT, 'tsconfig.client.json'), ...only])
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.d.ts'),
    )
    for (const form of ['esm', 'cjs']) {
      for (const name of files) {
        const target = join(out, 'types', form, name)
        mkdirSync(dirname(target), { recursive: true })
        const text = readFileSync(join(folder, name), 'utf8')
        writeFileSync(target, text.replaceAll(/((?:from |import\()['"]\.[^'"]*)\.ts(['"])/g, '$1.js$2'))
      }
      const type = form === 'esm' ? 'module' : 'commonjs'
      writeFileSync(join(out, 'types', form, 'package.json'), `${JSON.stringify({ type })}\n`)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

rmSync(out, { recursive: true, force: true })
declarations()
await bundle({ entry: 'client.ts', file: 'node/client.js', format: 'esm' })
await bundle({ entry: 'client.ts', file: 'node/client.cjs', format: 'cjs' })
await bundle({ entry: 'browser/client.ts', file: 'browser/client.js', format: 'esm', browser: true })
await bundle({
  entry: 'browser/client.ts',
  file: 'browser/standalone.js',
  format: 'esm',
  browser: true,
  whole: true,
})
