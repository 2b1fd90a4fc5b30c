import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { vi } from 'vitest'
import { release, ZOO } from '../../scripts/demo/zoo.ts'
import { startApp, type TestApp } from '../support/app.ts'
import type { TestClient } from '../support/client.ts'
import { patience } from '../support/patience.ts'

/** A whole bridge with some devices of the zoo, and a real browser that looks at it. */

export const SIZES = {
  desk: { width: 1280, height: 860 },
  phone: { width: 360, height: 760 },
} as const
export type Size = keyof typeof SIZES

export type PrincipalName = 'boss' | 'wall' | 'agent'

const ROLES = { boss: 'admin', wall: 'viewer', agent: 'agent' } as const

export interface ConsoleFleet {
  readonly app: TestApp
  readonly admin: TestClient
  readonly url: string
  /** A page that has signed in; what it logs as an error is kept. */
  open(name: PrincipalName, size?: Size): Promise<SignedIn>
  /** A page that has not. */
  blank(size?: Size): Promise<SignedIn>
  /** Lets a device of the zoo connect, and resolves with its code; `approve` lets it in. */
  release(nodeId: string, approve?: boolean): Promise<string>
}

export interface SignedIn extends AsyncDisposable {
  readonly page: Page
  readonly context: BrowserContext
  readonly problems: string[]
  go(hash: string): Promise<void>
}

/** `args`: further options of Chromium. */
export async function startBrowser(...args: string[]): Promise<Browser> {
  return await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage', ...args],
    timeout: patience(30_000),
  })
}

export async function startFleet(browser: Browser, settings = {}): Promise<ConsoleFleet & AsyncDisposable> {
  const app = await startApp({ http: { enabled: true, port: 0 }, ...settings })
  const admin = await app.admin()
  for (const [name, role] of Object.entries(ROLES)) {
    await admin.do('admin', 'principal/add', { name, role, password: passwordOf(name) })
  }
  const animals: { stop(): Promise<void> }[] = []
  const blank = async (size: Size = 'desk') => {
    const context = await browser.newContext({
      viewport: SIZES[size],
      locale: 'en-GB',
      reducedMotion: 'reduce',
    })
    context.setDefaultTimeout(patience(15_000))
    const page = await context.newPage()
    const problems: string[] = []
    page.on('pageerror', (error) => problems.push(error.message))
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
    await page.goto(urlOf(app))
    return {
      page,
      context,
      problems,
      go: async (hash: string) => {
        await page.goto(`${urlOf(app)}${hash}`)
        await page.waitForSelector('main h1')
      },
      [Symbol.asyncDispose]: () => context.close(),
    }
  }
  return {
    app,
    admin,
    get url() {
      return urlOf(app)
    },
    blank,
    async open(name, size) {
      const opened = await blank(size)
      await signIn(opened.page, name, passwordOf(name))
      return opened
    },
    async release(nodeId, approve = true) {
      const animal = ZOO.find((each) => each.nodeId === nodeId)
      if (animal === undefined) throw new Error(`there is no ${nodeId} in the zoo`)
      const code = await new Promise<string>((resolve) => {
        animals.push(release(animal, `mqtt://127.0.0.1:${app.bridge.mqtt.port}`, app.folder, resolve))
      })
      if (approve) await approveWaiting(admin, nodeId)
      return code
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(animals.map((animal) => animal.stop()))
      await app[Symbol.asyncDispose]()
    },
  }
}

function urlOf(app: TestApp): string {
  return `http://127.0.0.1:${app.bridge.http?.port}/`
}

export function passwordOf(name: string): string {
  return `${name}-has-a-long-password`
}

export async function signIn(page: Page, name: string, secret: string): Promise<void> {
  await page.getByLabel('Name').fill(name)
  await page.getByLabel('Password or token').fill(secret)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForSelector('.frame main h1')
}

async function approveWaiting(admin: TestClient, nodeId: string): Promise<void> {
  const { items } = await admin.do('admin', 'pairing/list', {})
  const request = items.find((item: { nodeId: string }) => item.nodeId === nodeId)
  await admin.do('admin', 'pairing/approve', { requestId: request.requestId })
  await vi.waitFor(async () => {
    const { status } = await admin.do('admin', 'node/get', { nodeId })
    if (status === 'offline') throw new Error(`${nodeId} is ${status}`)
  }, patience(10_000))
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** What axe finds, as `rule: places`; through the debugger, because the policy of the page lets no other script in. */
export async function axe(page: Page): Promise<string[]> {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Runtime.evaluate', { expression: AXE })
  const { result, exceptionDetails } = await cdp.send('Runtime.evaluate', {
    expression: `axe.run().then(({ violations }) => violations.map(({ id, nodes }) =>
      id + ': ' + nodes.slice(0, 4).map(({ target, html }) => target.join(' ') + ' ' + html.slice(0, 120)).join(' | ')))`,
    awaitPromise: true,
    returnByValue: true,
  })
  if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails))
  await cdp.detach()
  return result.value as string[]
}

/** Whether anything is wider than the screen: on a phone nobody scrolls sideways. */
export async function widerThanScreen(page: Page): Promise<boolean> {
  const wider = (element: Sized) => element.scrollWidth > element.clientWidth + 1
  return (await page.locator('html').evaluate(wider)) || (await page.locator('main').evaluate(wider))
}

/** Words of headings, buttons and levels that stand on several lines, because their place is too narrow for them. */
export async function brokenWords(page: Page): Promise<string[]> {
  return await page.evaluate<string[]>(`(() => {
    const range = document.createRange()
    const lines = (node, from, to) => {
      range.setStart(node, from)
      range.setEnd(node, to)
      return new Set([...range.getClientRects()].filter(({ width }) => width > 0).map(({ top }) => Math.round(top))).size
    }
    const found = []
    for (const element of document.querySelectorAll('main th, main button, main .tag, main time, main label')) {
      for (const node of element.childNodes) {
        if (node.nodeType !== 3) continue
        for (const { 0: word, index } of node.data.matchAll(/[\\p{L}\\d]+/gu))
          if (word.length < 16 && lines(node, index, index + word.length) > 1) found.push(word)
      }
    }
    return found
  })()`)
}

/** How light the ground of the page is: 0 is black, 1 is white. */
export async function lightnessOf(page: Page): Promise<number> {
  const colour = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
  const [red = 0, green = 0, blue = 0] = colour.match(/[\d.]+/g) ?? []
  return (Number(red) + Number(green) + Number(blue)) / 765
}

interface Sized {
  readonly scrollWidth: number
  readonly clientWidth: number
}

/** Kept where somebody asks for it: `LIMB_CONSOLE_SHOTS=docs/pictures`. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.LIMB_CONSOLE_SHOTS
  if (folder !== undefined) await page.screenshot({ path: `${folder}/${name}.png` })
}
