import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { Command } from '../support/command.ts'
import { skipWithout } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { agent } from '../support/worker.ts'

/** The npm package `limb-bridge-client` as people get it: packed, installed into an empty folder, run in each form. */

const ROOT = join(import.meta.dirname, '../..')
const CLIENT = join(ROOT, 'packages/limb-bridge-client')

let folder: string
let packed: { filename: string; files: { path: string }[] }
/** Why nothing could be installed; undefined when it could. */
let notInstalled: string | undefined

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-client-package-'))
  const pack = ['pack', '--json', '--silent', '--pack-destination', folder]
  packed = JSON.parse(
    execFileSync('npm', pack, { cwd: CLIENT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }),
  )[0]
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  const install = ['install', '--no-audit', '--no-fund', '--prefer-offline', '--fetch-retries=1']
  const ran = spawnSync('npm', [...install, `./${packed.filename}`], { cwd: folder, encoding: 'utf8' })
  if (ran.status !== 0) notInstalled = ran.stderr
}, patience(120_000))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Skips where no registry has mqtt and zod; every other failure is one. */
function installed(context: { skip(reason: string): never }): void {
  if (notInstalled === undefined) return
  if (!/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network/i.test(notInstalled)) throw new Error(notInstalled)
  context.skip('the registry does not answer')
}

describe('limb-bridge-client', () => {
  it('holds its builds, its types, its page and its licence, and no sources', () => {
    const paths = packed.files.map(({ path }) => path)
    const others = paths.filter((path) => !path.startsWith('dist/types/'))
    expect(others.sort()).toEqual([
      'LICENSE',
      'README.md',
      'dist/browser/client.js',
      'dist/browser/standalone.js',
      'dist/node/client.cjs',
      'dist/node/client.js',
      'package.json',
    ])
    for (const form of ['esm', 'cjs']) {
      expect(paths).toContain(`dist/types/${form}/client/client.d.ts`)
      expect(paths).toContain(`dist/types/${form}/package.json`)
    }
  })

  it('asks for mqtt and zod alone, and says where it comes from, as the bridge does', () => {
    const own = JSON.parse(readFileSync(join(CLIENT, 'package.json'), 'utf8'))
    const bridge = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(own.dependencies).toEqual({ mqtt: bridge.dependencies.mqtt, zod: bridge.dependencies.zod })
    expect(own.version).toBe(bridge.version)
    for (const { repository, homepage, bugs, keywords, license } of [own, bridge]) {
      expect(repository.url).toBe('git+https://github.com/limb-bridge/limb-bridge.git')
      expect(homepage).toMatch(/^https:\/\/github\.com\/limb-bridge\/limb-bridge/)
      expect(bugs).toBe('https://github.com/limb-bridge/limb-bridge/issues')
      expect(keywords).toContain('mqtt')
      expect(license).toBe('MIT')
    }
  })

  it('brings no more than mqtt and zod bring, and nothing that is compiled', (context) => {
    installed(context)
    const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'))
    const names = Object.keys(lock.packages).filter((path) => path !== '')
    expect(names.length).toBeLessThan(60)
    expect(
      Object.values<{ hasInstallScript?: boolean }>(lock.packages).some((one) => one.hasInstallScript),
    ).toBe(false)
  })

  it.for([
    ['node10', 'commonjs', 'ts'],
    ['node16', 'node16', 'cts'],
    ['node16', 'node16', 'mts'],
    ['nodenext', 'nodenext', 'cts'],
    ['nodenext', 'nodenext', 'mts'],
    ['bundler', 'esnext', 'ts'],
  ])(
    'has types that a compiler with moduleResolution %s, module %s finds from a .%s file',
    { timeout: patience(60_000) },
    ([moduleResolution = '', module = '', ending = ''], context) => {
      installed(context)
      // The declarations of zod ask for it; with the other modules it is the compiler's default.
      const interop = module === 'commonjs' ? ['--esModuleInterop'] : []
      compiled(USE, ['--moduleResolution', moduleResolution, '--module', module, ...interop], ending)
    },
  )

  it(
    'has types for a bundler that builds for browsers, without SignedInvocations',
    (context) => {
      installed(context)
      const options = ['--moduleResolution', 'bundler', '--module', 'esnext', '--customConditions', 'browser']
      const without =
        "// @ts-expect-error A browser has no SignedInvocations.\nimport { SignedInvocations } from 'limb-bridge-client'"
      compiled(`${without}\n${USE}`, options, 'ts')
    },
    patience(60_000),
  )
})

const USE = `
import { Limb, picture, type Heartbeat, type LimbEvent, type LimbOptions } from 'limb-bridge-client'
const heartbeat: Heartbeat = { status: 'online' }
const options: LimbOptions = {
  url: 'ws://127.0.0.1/mqtt', nodeId: 'lamp1', keyFile: 'lamp1.key', heartbeat: () => heartbeat,
  registration: { displayName: 'Lamp', platform: 'node', capabilities: [{ cap: 'lamp', commands: ['lamp.set'], authLevel: 'free' }] },
  handlers: { 'lamp.set': ({ params }) => picture('image/png', new Uint8Array([params === undefined ? 0 : 1])) },
  onEvent: (event: LimbEvent) => { if (event.kind === 'pending') { const code: string = event.code; void code } },
}
const limb: Limb = new Limb(options)
const sent: boolean = limb.publish('climate', '{}')
void sent
// Types that were not found would be any, and take everything: then the next line is no error, which is one.
// @ts-expect-error
const wrong: number = limb.publish('climate', '{}')
void wrong
`
/** Compiles a program beside the installed package; declarations of libraries are checked too. @throws what is wrong */
function compiled(text: string, options: readonly string[], ending: string): void {
  const file = join(folder, `use.${ending}`)
  writeFileSync(file, text)
  const tsc = join(CLIENT, 'node_modules/typescript/bin/tsc')
  const strict = [
    '--noEmit',
    '--strict',
    '--target',
    'es2022',
    '--lib',
    'es2022,dom',
    '--skipLibCheck',
    'false',
  ]
  const ran = spawnSync(process.execPath, [tsc, ...strict, ...options, file], {
    cwd: folder,
    encoding: 'utf8',
  })
  rmSync(file)
  if (ran.status !== 0) throw new Error(ran.stdout)
}

describe('a limb of the package', () => {
  let app: TestApp & AsyncDisposable
  let origin: string
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname
    response.setHeader('content-type', extname(path) === '.js' ? 'text/javascript' : 'text/html')
    if (path === '/') {
      response.end('<!doctype html><title>limb</title>')
      return
    }
    const script = path === '/standalone.js'
    response.end(
      script ? readFileSync(join(folder, 'node_modules/limb-bridge-client/dist/browser/standalone.js')) : '',
    )
  })
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    app = await startApp({ http: { enabled: true, port: 0, allowedOrigins: [origin] } })
  })
  afterAll(async () => {
    server.close()
    await app[Symbol.asyncDispose]()
  })

  const program = (url: string, nodeId: string, keyFile: string) => `
const limb = new Limb({
  url: '${url}', nodeId: '${nodeId}', keyFile: ${JSON.stringify(keyFile)},
  registration: { displayName: 'Lamp', platform: 'node', capabilities: [{ cap: 'lamp', commands: ['lamp.set', 'lamp.snap'], authLevel: 'free' }] },
  handlers: {
    'lamp.set': ({ params }) => ({ on: params.on, name: 'Lämpchen' }),
    'lamp.snap': () => picture('image/png', new Uint8Array([137, 80, 78, 71, 255])),
  },
  onEvent: (event) => console.log(JSON.stringify(event)),
})
limb.start()`

  /** What every form has to do: pair, come online, answer, publish its telemetry, and be the same limb the next time. */
  async function isWholeLimb(
    nodeId: string,
    start: () => Promise<AsyncDisposable & { line(pattern: RegExp): Promise<string> }>,
  ) {
    const admin = await app.admin()
    {
      await using limb = await start()
      const pending = JSON.parse(await limb.line(/"pending"/))
      const { items } = await admin.do('admin', 'pairing/list', {})
      expect(items).toMatchObject([{ nodeId, code: pending.code }])
      await admin.do('admin', 'pairing/approve', { requestId: items[0].requestId })
      await limb.line(/"approved"/)
      const ann = await agent(app, `ann-${nodeId}`)
      const ask = (command: string, params = {}) =>
        ann.ask(`ann-${nodeId}`, 'invoke', { nodeId, command, params })
      expect((await ask('lamp.set', { on: true })).data.data).toEqual({ on: true, name: 'Lämpchen' })
      expect((await ask('lamp.snap')).data.data).toEqual({ mimeType: 'image/png', base64: 'iVBOR/8=' })
      await limb.line(/"invoked".*lamp\.snap/)
    }
    {
      await using again = await start()
      await again.line(/"approved"/)
    }
    await admin.end()
  }

  it.for([
    ['an ES module', 'mjs', "import { Limb, picture } from 'limb-bridge-client'"],
    ['CommonJS', 'cjs', "const { Limb, picture } = require('limb-bridge-client')"],
  ])('in %s pairs, answers and comes back with its key', async ([, ending, first], context) => {
    installed(context)
    const nodeId = `lamp-${ending}`
    const file = join(folder, `limb.${ending}`)
    const url = `mqtt://127.0.0.1:${app.bridge.mqtt.port}`
    writeFileSync(file, first + program(url, nodeId, join(folder, `${nodeId}.key`)))
    await isWholeLimb(nodeId, async () => new Command(process.execPath, [file]))
  })

  it('in Chromium pairs, answers and comes back with its key', async (context) => {
    installed(context)
    skipWithout(context, 'chromium')
    const { startBrowser } = await import('../console/fleet.ts')
    const browser = await startBrowser()
    try {
      const ours = await browser.newContext()
      const url = `ws://127.0.0.1:${app.bridge.http?.port}/mqtt`
      const start = async () => {
        const page = await ours.newPage()
        const lines: string[] = []
        page.on('console', (message) => lines.push(message.text()))
        page.on('pageerror', (error) => lines.push(String(error)))
        await page.goto(origin)
        const source = `import { Limb, picture } from '/standalone.js'\n${program(url, 'lamp-page', 'lamp.key')}`
        await page.addScriptTag({ type: 'module', content: source })
        return {
          async line(pattern: RegExp): Promise<string> {
            await expect.poll(() => lines.find((line) => pattern.test(line)) ?? lines.join()).toMatch(pattern)
            return lines.find((line) => pattern.test(line)) ?? ''
          },
          [Symbol.asyncDispose]: () => page.close(),
        }
      }
      await isWholeLimb('lamp-page', start)
    } finally {
      await browser.close()
    }
  })

  it('runs in what a bundler makes of it for browsers, which has nothing of Node in it', async (context) => {
    installed(context)
    const { rolldown } = await import('rolldown')
    const entry = join(folder, 'entry.mjs')
    writeFileSync(entry, "export { Limb, picture } from 'limb-bridge-client'")
    const build = await rolldown({ input: entry, platform: 'browser', logLevel: 'warn' })
    const { output } = await build.generate({ format: 'esm' })
    await build.close()
    expect(output[0].code).not.toMatch(/(?:from|require\()\s*["']node:/)
    expect(output[0].imports).toEqual([])
  })
})
