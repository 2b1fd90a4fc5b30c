import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { needs } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { type ConsoleFleet, passwordOf, signIn, startBrowser, startFleet } from './fleet.ts'

/** What others can do to a console, and what a role may not do in it. */

needs('chromium')

let browser: Browser
let fleet: ConsoleFleet & AsyncDisposable

beforeAll(async () => {
  browser = await startBrowser()
  fleet = await startFleet(browser)
}, patience(90_000))
afterAll(async () => {
  await browser?.close()
  await fleet?.[Symbol.asyncDispose]()
})

const MARK = '<img src=x onerror=window.ran=1><script>window.ran=2</script>'
const SCHEME = 'javascript:window.ran=3'

const PAGES = [
  '#/today',
  '#/limbs',
  '#/pairing',
  '#/approvals',
  '#/access',
  '#/access?tab=tokens',
  '#/access?tab=policies',
]
const OF_LIMB = ['', '?tab=health', '?tab=policy', '?tab=record', '?tab=settings']

describe('a hostile text', () => {
  it(
    'runs nothing, wherever a device or a principal can write one',
    async () => {
      const { app, admin } = fleet
      const registration = {
        displayName: MARK.slice(0, 100),
        platform: '<b onmouseover=window.ran=4>x</b>',
        firmware: '<svg onload=window.ran=5>',
        endpointUrl: 'http://127.0.0.1:9/"><script>window.ran=6</script>',
        description: MARK,
        model: MARK.slice(0, 100),
        manufacturer: MARK.slice(0, 100),
        area: MARK.slice(0, 100),
        configurationUrl: 'http://127.0.0.1/"onclick="window.ran=7',
        capabilities: [
          {
            cap: 'evil',
            authLevel: 'free',
            commands: [
              {
                name: 'evil.do',
                title: MARK.slice(0, 100),
                description: MARK,
                input: {
                  type: 'object',
                  properties: {
                    [MARK]: {
                      type: 'string',
                      title: MARK.slice(0, 100),
                      description: MARK,
                      enum: [MARK, 'b'],
                    },
                    constructor: { type: 'string' },
                    valueOf: { type: 'number', unit: 'toString' },
                  },
                },
              },
            ],
          },
          { cap: 'ask', authLevel: 'gated', commands: ['ask.for'] },
        ],
        properties: [
          { name: 'p', topic: 'data/p', title: MARK.slice(0, 100), description: MARK, type: 'string' },
        ],
      }
      const device = await app.limb('evil', registration)
      await device.subscribe('limb/node/evil/invoke')
      await device.publish('limb/node/evil/heartbeat', { metrics: { '<img src=x onerror=window.ran=8>': 1 } })
      await device.publish('limb/node/evil/data/p', MARK, { qos: 1, retain: true })
      await device.publish(`limb/node/evil/data/<img src=x onerror=window.ran=9>`, MARK, {
        qos: 1,
        retain: true,
      })
      device.mqtt.on('message', (topic, payload) => {
        if (!topic.endsWith('/invoke')) return
        const { invocationId, params } = JSON.parse(payload.toString())
        const failed = { invocationId, success: false, error: MARK }
        const done = {
          invocationId,
          success: true,
          data: { html: MARK, href: SCHEME },
          artifactUri: 'https://x/"><script>window.ran=10</script>',
        }
        void device.publish('limb/node/evil/result', params.fail ? failed : done)
      })
      await admin.do('admin', 'token/add', { name: MARK.slice(0, 63) })
      await expect(app.device(MARK, 'no-key')).rejects.toThrow()
      const agent = await app.principal('agent', passwordOf('agent'))
      const asked = { nodeId: 'evil', command: 'ask.for', params: { [MARK]: MARK, link: SCHEME } }
      const refused = agent.ask('agent', 'invoke', asked)
      const candidate = await app.device('evil2', 'a-key-of-a-guest-that-is-long')
      await candidate.publish('limb/node/evil2/register', {
        ...registration,
        displayName: `x${MARK.slice(0, 90)}`,
      })

      await using signedIn = await fleet.open('boss')
      const { page, go } = signedIn
      for (const hash of [...PAGES, ...OF_LIMB.map((tab) => `#/limb/evil${tab}`), '#/audit', '#/system']) {
        await go(hash)
        await page.waitForTimeout(400)
      }
      await go('#/approvals')
      const waiting = page.locator('.card.approval')
      expect(await waiting.innerText()).toContain('<script>')
      await waiting.getByRole('button', { name: 'Deny' }).click()
      await page.getByLabel('Reason').fill(MARK)
      await page.getByRole('dialog').getByRole('button', { name: 'Deny' }).click()
      expect(await refused).toMatchObject({ ok: false })
      await page.getByText(`„${MARK}“`).first().waitFor()
      await go('#/limb/evil?tab=record')
      await page.getByText('ask.for').first().waitFor()
      await go('#/limb/evil')
      const card = page.locator('.card', { hasText: 'evil.do' }).first()
      await card.getByRole('button', { name: 'Run' }).click()
      await card.locator('.answer').waitFor()
      expect(await page.locator('.answer').innerText()).toContain('<script>')
      expect(await page.locator('main script, main img[src="x"], main svg[onload]').count()).toBe(0)
      const links = await page
        .locator('a')
        .evaluateAll((all) => all.map((link) => link.getAttribute('href') ?? ''))
      expect(links.filter((href) => !/^(#|https?:)/.test(href))).toEqual([])
      expect(await page.locator('html').evaluate(() => (globalThis as { ran?: unknown }).ran)).toBeUndefined()
      expect(signedIn.problems).toEqual([])
      await agent.end()
    },
    patience(120_000),
  )
})

describe('an address', () => {
  it(
    'that nobody made shows a page with a heading, breaks nothing, and leaves the others as they are',
    async () => {
      await using signedIn = await fleet.open('boss')
      const { page, go, problems } = signedIn
      for (const hash of ODD) {
        await go(hash)
        expect.soft(await page.locator('main h1').first().innerText(), hash).not.toBe('')
      }
      await go('#/limbs')
      await page.getByLabel('Search').waitFor()
      expect(problems).toEqual([])
    },
    patience(60_000),
  )
})

/** Names that every object of JavaScript has, broken escapes, and texts for others than a router. */
const ODD = [
  '#/constructor',
  '#/__proto__',
  '#/toString/valueOf',
  '#/limb/constructor',
  '#/limb/__proto__?tab=__proto__',
  '#/limb/%E0%A4%A',
  '#/limb/a%2F..%2Fb',
  '#/limbs?sort=constructor&order=x&status=__proto__&capability=%00',
  '#/limbs?q=(((%5B',
  '#/access?tab=constructor',
  '#/audit?since=never&kind=zzz&limb=%3Cscript%3E&actor=%00',
  '#/first/$(reboot);`x`"',
  `#${'/x'.repeat(2000)}`,
  '#javascript:alert(1)',
]

describe('a role', () => {
  it(
    'of a viewer has nothing to press on any page',
    async () => {
      await fleet.release('lamp1')
      await fleet.release('door1')
      await using signedIn = await fleet.open('wall')
      const { page, go } = signedIn
      for (const hash of [
        ...PAGES,
        ...OF_LIMB.slice(0, 4).map((tab) => `#/limb/lamp1${tab}`),
        '#/audit',
        '#/system',
      ]) {
        await go(hash)
        await page.waitForTimeout(400)
        const pressed = await page.locator('main button:visible').allInnerTexts()
        const labels = pressed.map((text) => text.trim()).filter((text) => !HARMLESS.test(text))
        expect([hash, labels]).toEqual([hash, []])
      }
      expect(await page.locator('main [role=switch]:not([disabled])').count()).toBe(0)
    },
    patience(60_000),
  )
})

/** Looking is no deed: sorting, refreshing, the own tokens, the own sign-in. */
const HARMLESS = /^(|Name|Status|Platform|Since|nodeId|Sound (on|off)|Refresh|Remove|Make it|DE|Copy)$/

describe('a stolen token', () => {
  it(
    'opens a console until it is removed, and then that console is signed out',
    async () => {
      const { admin } = fleet
      const { token, tokenId } = await admin.do('admin', 'token/add', { name: 'stolen', principal: 'wall' })
      await using thief = await fleet.blank()
      await thief.page.getByLabel('Password or token').fill(token)
      await thief.page.getByRole('button', { name: 'Sign in' }).click()
      await thief.page.waitForSelector('.frame main h1')
      await admin.do('admin', 'token/remove', { tokenId })
      await thief.page.getByText('You were signed out').waitFor()
      await thief.page.reload()
      await thief.page.getByRole('button', { name: 'Sign in' }).waitFor()
    },
    patience(60_000),
  )

  it(
    'opens a console without a name where the HTTP API is off, which can load a backup too',
    async () => {
      await using own = await startFleet(browser, { http: { enabled: true, port: 0, api: false } })
      const { token } = await own.admin.do('admin', 'token/add', { name: 'phone', principal: 'boss' })
      await own.admin.do('admin', 'backup/create', {})
      await using signedIn = await own.blank()
      const { page, go } = signedIn
      const secret = page.getByLabel('Password or token')
      await secret.fill(`${token.slice(0, -1)}!`)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByText('The bridge refused this name and password').waitFor()
      await secret.fill(token)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.waitForSelector('.frame main h1')
      expect(await page.locator('.who strong').first().innerText()).toBe('boss')
      await go('#/system')
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: 'Download' }).click(),
      ])
      expect(download.suggestedFilename()).toMatch(/\.sqlite$/)
    },
    patience(60_000),
  )

  it(
    'is what a browser keeps, and never a password',
    async () => {
      await using signedIn = await fleet.open('boss')
      const kept = () =>
        signedIn.page.locator('html').evaluate(() => JSON.stringify([sessionStorage, localStorage]))
      await expect.poll(kept, { timeout: patience(15_000) }).toContain('lbt_')
      expect(await kept()).not.toContain(passwordOf('boss'))
    },
    patience(60_000),
  )
})

describe('a page of another origin', () => {
  it(
    'can neither ask, nor connect, nor show the console in a frame',
    async () => {
      await using signedIn = await fleet.open('boss')
      const { context } = signedIn
      const page = await context.newPage()
      await page.route('http://evil.example/**', (route) =>
        route.fulfill({
          contentType: 'text/html',
          body: `<h1>evil</h1><iframe src="${fleet.url}"></iframe>`,
        }),
      )
      await page.goto('http://evil.example/')
      const outcome = await page.locator('html').evaluate(async (_element, url) => {
        const asked = await fetch(`${url}api/v1/node/list`, { method: 'POST' }).then(
          (response) => `answered ${response.status}`,
          () => 'refused',
        )
        const connected = await new Promise((resolve) => {
          const socket = new WebSocket(`${url.replace('http', 'ws')}mqtt`, 'mqtt')
          socket.onopen = () => resolve('opened')
          socket.onerror = () => resolve('refused')
        })
        return { asked, connected }
      }, fleet.url)
      expect(outcome).toEqual({ asked: 'refused', connected: 'refused' })
      const frame = page.frames()[1]
      expect(await frame?.locator('form').count()).toBe(0)
    },
    patience(60_000),
  )
})

describe('a bridge that ends', () => {
  it(
    'is said on every open page, and each recovers when it is back',
    async () => {
      await using first = await fleet.open('boss')
      await using second = await fleet.open('wall', 'phone')
      await first.go('#/limbs')
      const { app } = fleet
      const port = app.bridge.http?.port ?? 0
      await app.restart({ http: { enabled: true, port } })
      // It may be back before a page has said so.
      await first.page.locator('.virtual-rows .row').first().waitFor()
      await expect.poll(() => first.page.locator('.banner').count(), { timeout: patience(30_000) }).toBe(0)
      await expect.poll(() => second.page.locator('.banner').count(), { timeout: patience(30_000) }).toBe(0)
      await first.go('#/system')
      await first.page.getByText('ready', { exact: true }).waitFor()
    },
    patience(90_000),
  )

  it(
    'leaves what was seen, with the time of it',
    async () => {
      const own = await startFleet(browser)
      await using signedIn = await own.open('boss')
      await own[Symbol.asyncDispose]()
      await signedIn.page.getByText('The connection to the bridge is lost').waitFor()
      expect(await signedIn.page.getByRole('heading', { name: 'Today' }).count()).toBe(1)
    },
    patience(60_000),
  )
})

describe('a wrong password', () => {
  it(
    'is refused with a sentence',
    async () => {
      await using blank = await fleet.blank()
      const { page } = blank
      await page.getByLabel('Name').fill('boss')
      await page.getByLabel('Password or token').fill('not-the-password')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByText('The bridge refused this name and password').waitFor()
      await signIn(page, 'boss', passwordOf('boss'))
    },
    patience(60_000),
  )
})
