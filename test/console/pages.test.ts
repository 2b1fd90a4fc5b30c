import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { needs } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import {
  axe,
  brokenWords,
  type ConsoleFleet,
  lightnessOf,
  passwordOf,
  picture,
  type Size,
  signIn,
  startBrowser,
  startFleet,
  widerThanScreen,
} from './fleet.ts'

/** The main job of each page, in a real browser against a real bridge, at a desk and on a phone. */

needs('chromium')

let browser: Browser
let fleet: ConsoleFleet & AsyncDisposable

beforeAll(async () => {
  browser = await startBrowser()
  fleet = await startFleet(browser)
  await fleet.release('lamp1')
  await fleet.release('door1')
  await fleet.release('cam1')
  await fleet.release('thermo1')
}, patience(90_000))
afterAll(async () => {
  await browser?.close()
  await fleet?.[Symbol.asyncDispose]()
})

const PAGES = [
  ['today', '#/today'],
  ['pairing', '#/pairing'],
  ['limbs', '#/limbs'],
  ['limb', '#/limb/lamp1'],
  ['limb-health', '#/limb/lamp1?tab=health'],
  ['limb-policy', '#/limb/door1?tab=policy'],
  ['limb-record', '#/limb/lamp1?tab=record'],
  ['limb-settings', '#/limb/lamp1?tab=settings'],
  ['approvals', '#/approvals'],
  ['access', '#/access'],
  ['policies', '#/access?tab=policies'],
  ['tokens', '#/access?tab=tokens'],
  ['sessions', '#/access?tab=sessions'],
  ['audit', '#/audit'],
  ['system', '#/system'],
  ['first-device', '#/first'],
] as const

describe.each(['desk', 'phone'] as Size[])('at the size of a %s', (size) => {
  it(
    'axe finds nothing on any page, nothing is wider than the screen, and no error is logged',
    async () => {
      await using signedIn = await fleet.open('boss', size)
      const { page, go, problems } = signedIn
      for (const [name, hash] of PAGES) {
        await go(hash)
        await page.locator('.loading').waitFor({ state: 'detached' })
        await page.waitForTimeout(500)
        await picture(page, `${name}-${size}`)
        expect.soft(await axe(page), name).toEqual([])
        expect.soft(await widerThanScreen(page), name).toBe(false)
        expect.soft(await brokenWords(page), name).toEqual([])
      }
      expect(problems).toEqual([])
    },
    patience(120_000),
  )

  it(
    'axe finds nothing on any page in the dark, and each is drawn dark',
    async () => {
      await using signedIn = await fleet.open('boss', size)
      const { page, go } = signedIn
      await page.emulateMedia({ colorScheme: 'dark' })
      for (const [name, hash] of PAGES) {
        await go(hash)
        await page.locator('.loading').waitFor({ state: 'detached' })
        await page.waitForTimeout(500)
        await picture(page, `${name}-${size}-dark`)
        expect.soft(await axe(page), name).toEqual([])
        expect.soft(await lightnessOf(page), name).toBeLessThan(0.3)
      }
    },
    patience(120_000),
  )

  it(
    'Settings rename a limb, show a new key once, and ask before they revoke',
    async () => {
      await using signedIn = await fleet.open('boss', size)
      const { page, go, problems } = signedIn
      const nodeId = size === 'desk' ? 'cam4' : 'cam5'
      const device = await fleet.app.limb(nodeId)
      await go(`#/limb/${nodeId}?tab=settings`)
      const tab = page.locator('.tabs [aria-current]')
      expect(
        await tab.evaluate((at) => Number(Reflect.get(at.getBoundingClientRect(), 'right'))),
      ).toBeLessThanOrEqual(page.viewportSize()?.width ?? 0)
      await page.getByRole('textbox', { name: 'Name' }).fill('Eye of the shed')
      await page.getByRole('button', { name: 'Save' }).first().click()
      await page.getByRole('heading', { level: 1, name: 'Eye of the shed' }).waitFor()
      await page.getByRole('button', { name: 'Make a new key' }).click()
      const key = await page.locator('.secret code').innerText()
      expect(key.length).toBeGreaterThan(20)
      await page.locator('dialog footer button').first().click()
      await page.locator('.secret').waitFor({ state: 'detached' })
      await page.getByRole('button', { name: 'Revoke' }).click()
      const dialog = page.getByRole('dialog')
      expect(await dialog.innerText()).toContain('Revoke Eye of the shed?')
      await page.keyboard.press('Escape')
      await dialog.waitFor({ state: 'detached' })
      expect((await fleet.admin.ask('admin', 'node/get', { nodeId })).ok).toBe(true)
      await page.getByRole('button', { name: 'Revoke' }).click()
      await dialog.getByRole('button', { name: 'Revoke' }).click()
      await page.waitForURL(/#\/limbs/)
      expect((await fleet.admin.ask('admin', 'node/get', { nodeId })).error.code).toBe('not_found')
      device.mqtt.end(true)
      expect(problems).toEqual([])
    },
    patience(60_000),
  )

  it(
    'Pairing shows a request within a second, wants the last letters of its code, and lets it in',
    async () => {
      await using signedIn = await fleet.open('boss', size)
      const { page, go } = signedIn
      const nodeId = size === 'desk' ? 'cam2' : 'cam3'
      await go('#/pairing')
      const code = await fleet.release(nodeId, false)
      const card = page.locator('.card.request', { hasText: nodeId })
      // From when the device has its code.
      await card.waitFor({ timeout: patience(3000) })
      await expect.poll(() => page.title()).toBe('(1) Limb Bridge')
      expect(await card.locator('.code').innerText()).toContain(code.slice(4))
      const approve = card.getByRole('button', { name: 'Approve' })
      expect(await approve.isDisabled()).toBe(true)
      const letters = card.getByLabel(/Last four letters/)
      await letters.fill(code.slice(4) === 'XXXX' ? 'BBBB' : 'XXXX')
      await card.getByRole('alert').waitFor()
      expect(await approve.isDisabled()).toBe(true)
      await card.getByLabel('Name').fill('Eye of the yard')
      await card.getByLabel('Area').fill('Yard')
      await letters.fill(code.slice(4).toLowerCase())
      await picture(page, `pairing-request-${size}`)
      expect(await axe(page)).toEqual([])
      await approve.click()
      await page.locator('.steps .done', { hasText: 'first heartbeat' }).waitFor()
      expect(await fleet.admin.do('admin', 'node/get', { nodeId })).toMatchObject({
        displayName: 'Eye of the yard',
        description: { area: 'Yard' },
      })
      await expect.poll(() => page.title()).toBe('Limb Bridge')
      await fleet.admin.do('admin', 'node/revoke', { nodeId })
    },
    patience(60_000),
  )

  it(
    'Limbs filters and sorts in the URL, over a reload',
    async () => {
      await using signedIn = await fleet.open('boss', size)
      const { page, go } = signedIn
      await go('#/limbs')
      await page.getByLabel('Search').fill('lamp desk')
      await expect.poll(() => page.locator('.virtual-rows .row').count()).toBe(1)
      await expect.poll(() => page.url()).toContain('q=lamp+desk')
      await page.reload()
      await page.locator('.virtual-rows .row', { hasText: 'Desk lamp' }).waitFor()
      expect(await page.locator('.virtual-rows .row').count()).toBe(1)
      if (size === 'desk')
        for (const span of ['24 hours', '30 days'])
          await page.locator('.virtual-rows').getByRole('img', { name: span }).waitFor()
    },
    patience(60_000),
  )

  it(
    'A limb has controls made from its description, runs a command, and shows a picture',
    async () => {
      await using signedIn = await fleet.open('boss', size)
      const { page, go } = signedIn
      await go('#/limb/lamp1')
      const values = page.locator('.card', { has: page.getByRole('heading', { name: 'Values' }) })
      const light = values.getByRole('switch', { name: 'Light' })
      const isOn = () => light.getAttribute('aria-checked')
      // The page of another size may have switched it a moment ago.
      await expect.poll(isOn).toBe('false')
      await light.click()
      await expect.poll(isOn).toBe('true')
      await values.getByLabel(/Brightness/).fill('73')
      await expect.poll(() => values.locator('output').innerText()).toBe('73')
      await light.click()
      await expect.poll(isOn).toBe('false')
      await go('#/limb/cam1')
      await page
        .locator('.card', { has: page.getByRole('heading', { name: 'Take a picture' }) })
        .getByRole('button', { name: 'Run' })
        .click()
      const image = page.locator('.answer img')
      await image.waitFor()
      await picture(page, `camera-${size}`)
      const width = () => image.evaluate((element: { naturalWidth?: number }) => element.naturalWidth)
      await expect.poll(width).toBe(320)
      const zoom = page.locator('.card', { has: page.getByRole('heading', { name: 'Zoom' }) })
      await zoom.getByLabel('Factor').fill('8')
      await zoom.getByRole('button', { name: 'Run' }).click()
      await zoom.locator('.error', { hasText: 'the lens is stuck at 7' }).waitFor()
    },
    patience(60_000),
  )

  it(
    'Today tells a viewer after a reload what happened last, from what it may see',
    async () => {
      await using signedIn = await fleet.open('wall', size)
      const { page } = signedIn
      await page.reload()
      const last = page.locator('.card', { has: page.getByRole('heading', { name: 'What happened last' }) })
      await last.locator('li', { hasText: 'lamp1' }).first().waitFor()
      expect(await last.innerText()).toMatch(/Status\s+lamp1 · online/)
      expect(await last.innerText()).not.toContain('boss')
    },
    patience(60_000),
  )

  it(
    'Today tells a viewer after a reload which limb comes and goes',
    async () => {
      const nodeId = size === 'desk' ? 'moth1' : 'moth2'
      const moth = await fleet.app.limb(nodeId)
      await fleet.admin.subscribe('limb/bridge/event/node_flapping')
      const told = fleet.admin.next(
        ({ topic, json }) => topic.endsWith('/node_flapping') && json.nodeId === nodeId,
      )
      // Nobody waits in between: on a slow machine this would be no flapping.
      const say = (status: string) => moth.publish(`limb/node/${nodeId}/heartbeat`, { status })
      await Promise.all(Array.from({ length: 100 }, (_, i) => say(i % 2 === 0 ? 'busy' : 'online')))
      await told
      await using signedIn = await fleet.open('wall', size)
      await signedIn.page.reload()
      const problems = signedIn.page.locator('.card', {
        has: signedIn.page.getByRole('heading', { name: 'What needs you' }),
      })
      await problems.locator('li', { hasText: 'A limb comes and goes' }).first().waitFor()
      await picture(signedIn.page, `flapping-${size}`)
      expect(await axe(signedIn.page)).toEqual([])
      await moth.end()
      await fleet.admin.do('admin', 'node/revoke', { nodeId })
    },
    patience(60_000),
  )

  it(
    'Approvals shows who asks and what for, and what is decided is gone everywhere',
    async () => {
      await using first = await fleet.open('boss', size)
      await using second = await fleet.open('boss', 'desk')
      await first.go('#/approvals')
      await second.go('#/approvals')
      const agent = await fleet.app.principal('agent', 'agent-has-a-long-password')
      const opened = agent.ask('agent', 'invoke', {
        nodeId: 'door1',
        command: 'lock.open',
        params: { seconds: 12 },
      })
      const card = first.page.locator('.card.approval')
      await card.waitFor()
      await second.page.locator('.card.approval').waitFor()
      expect(await card.innerText()).toMatch(
        /agent[\s\S]*wants to use[\s\S]*Front door[\s\S]*the caller waits/,
      )
      expect(await card.innerText()).toContain('12')
      await picture(first.page, `approval-${size}`)
      expect(await axe(first.page)).toEqual([])
      expect(await widerThanScreen(first.page)).toBe(false)
      await card.getByRole('button', { name: 'Allow once' }).click()
      expect(await opened).toMatchObject({ ok: true })
      // The next question is not to be taken for this one.
      await card.waitFor({ state: 'detached' })
      await second.page.locator('.card.approval').waitFor({ state: 'detached' })
      const denied = agent.ask('agent', 'invoke', {
        nodeId: 'door1',
        command: 'lock.open',
        params: { seconds: 13 },
      })
      await card.getByRole('button', { name: 'Deny' }).click()
      await first.page.getByLabel('Reason').fill('at night nobody comes in')
      await first.page.getByRole('dialog').getByRole('button', { name: 'Deny' }).click()
      expect(await denied).toMatchObject({ ok: false, error: { code: 'denied' } })
      await agent.end()
    },
    patience(60_000),
  )
})

describe('the console', () => {
  it(
    'always allows a command of an agent on a limb with an entry that it shows before',
    async () => {
      await using signedIn = await fleet.open('boss', 'phone')
      const { page, go } = signedIn
      await go('#/approvals')
      const agent = await fleet.app.principal('agent', 'agent-has-a-long-password')
      const args = { nodeId: 'door1', command: 'lock.open', params: { seconds: 14 } }
      const opened = agent.ask('agent', 'invoke', args)
      await page.getByRole('button', { name: 'Always allow this' }).click()
      const dialog = page.getByRole('dialog')
      expect(await dialog.locator('.entry').innerText()).toBe('agent / door1 / lock → free')
      expect(await axe(page)).toEqual([])
      await dialog.getByRole('button', { name: 'Add it and allow' }).click()
      expect(await opened).toMatchObject({ ok: true })
      expect(await agent.ask('agent', 'invoke', args)).toMatchObject({ ok: true })
      await fleet.admin.do('admin', 'policy/delete', {
        principal: 'agent',
        nodeId: 'door1',
        capability: 'lock',
      })
      await agent.end()
    },
    patience(60_000),
  )

  it(
    'sets a policy with one press and says what decides',
    async () => {
      await using signedIn = await fleet.open('boss')
      const { page, go } = signedIn
      await go('#/limb/door1?tab=policy')
      await page.getByRole('combobox', { name: 'Principal' }).fill('agent')
      const levels = page.getByRole('group', { name: 'Level of lock for agent' })
      await levels.getByRole('button', { name: 'denied' }).click()
      await page.locator('td', { hasText: 'the entry agent / door1 / lock' }).waitFor()
      expect(
        await fleet.admin.do('admin', 'policy/explain', {
          principal: 'agent',
          nodeId: 'door1',
          capability: 'lock',
        }),
      ).toMatchObject({ level: 'denied', decidedBy: 'policy' })
      await page.getByRole('button', { name: 'Delete' }).first().click()
      await expect
        .poll(async () => (await fleet.admin.do('admin', 'policy/list', { nodeId: 'door1' })).items)
        .toEqual([])
    },
    patience(60_000),
  )

  it(
    'adds a principal, tells its password once, makes a token, and removes both',
    async () => {
      await using signedIn = await fleet.open('boss')
      const { page, go } = signedIn
      await go('#/access')
      const add = page.locator('.card', { has: page.getByRole('heading', { name: 'Add a principal' }) })
      await add.getByLabel('Name').fill('newcomer')
      await add.getByRole('button', { name: 'Add' }).click()
      const password = await page.getByRole('dialog').locator('code').innerText()
      const newcomer = await fleet.app.principal('newcomer', password)
      await newcomer.end()
      await page.getByRole('button', { name: 'I have it' }).click()
      await page
        .getByRole('row', { name: /newcomer/ })
        .getByRole('button', { name: 'Remove' })
        .click()
      await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
      await page.getByRole('row', { name: /newcomer/ }).waitFor({ state: 'detached' })
      await page.getByRole('link', { name: 'Tokens' }).click()
      await page.getByLabel('What it is for').fill('a script')
      await page.getByRole('button', { name: 'Make it' }).click()
      expect(await page.getByRole('dialog').locator('code').innerText()).toMatch(/^lbt_/)
      await page.getByRole('button', { name: 'I have it' }).click()
      const ends = page
        .getByRole('row', { name: /a script/ })
        .locator('time')
        .last()
      // In three months: the day is told too.
      expect(await ends.innerText()).toMatch(/\d{4}/)
    },
    patience(60_000),
  )

  it(
    'verifies the audit log, filters it and saves it as a file',
    async () => {
      await using signedIn = await fleet.open('boss')
      const { page, go } = signedIn
      await go('#/audit')
      await page.getByRole('button', { name: 'Verify the chain' }).click()
      await page.getByText(/The chain is whole/).waitFor()
      await page.getByLabel('Limb').fill('lamp1')
      await expect
        .poll(async () =>
          (await page.locator('.audit-lines .what').allInnerTexts()).every((text) => text.includes('lamp1')),
        )
        .toBe(true)
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: 'Save as a file' }).click(),
      ])
      expect(download.suggestedFilename()).toBe('limb-bridge-audit.jsonl')
    },
    patience(60_000),
  )

  it(
    'keeps the area of a limb whose settings are opened by their address and saved with another name',
    async () => {
      const { admin } = fleet
      await admin.do('admin', 'node/set', { nodeId: 'thermo1', area: 'Attic' })
      await using signedIn = await fleet.open('boss')
      const { page, go } = signedIn
      await go('#/limb/thermo1?tab=settings')
      const area = page.getByRole('textbox', { name: 'Area' })
      await expect.poll(() => area.inputValue()).toBe('Attic')
      await page.getByRole('textbox', { name: 'Name' }).fill('Thermometer of the attic')
      await page.getByRole('button', { name: 'Save' }).first().click()
      await page.getByRole('heading', { level: 1, name: 'Thermometer of the attic' }).waitFor()
      await page.getByText('Saved.', { exact: true }).waitFor()
      expect(await admin.do('admin', 'node/get', { nodeId: 'thermo1' })).toMatchObject({
        displayName: 'Thermometer of the attic',
        description: { area: 'Attic' },
      })
    },
    patience(60_000),
  )

  it(
    'asks nobody again who reloads as soon as the page is there, however late the token comes',
    async () => {
      await using slow = await fleet.blank()
      const { page } = slow
      await page.routeWebSocket('**/mqtt', (socket) => {
        const bridge = socket.connectToServer()
        bridge.onMessage((message) => {
          const isToken = Buffer.from(message).includes('/token/add')
          setTimeout(() => socket.send(message), isToken ? 500 : 0)
        })
      })
      await signIn(page, 'boss', passwordOf('boss'))
      await page.reload()
      await page.waitForSelector('.frame main h1')
    },
    patience(60_000),
  )

  it(
    'is there after a reload while the bridge was busy for a moment',
    async () => {
      await using opened = await fleet.open('boss')
      const { page } = opened
      let tries = 0
      await page.routeWebSocket('**/mqtt', (socket) => {
        if (++tries <= 2) void socket.close()
        else socket.connectToServer()
      })
      await page.reload()
      await page.waitForSelector('.frame main h1')
      expect(tries).toBe(3)
    },
    patience(60_000),
  )

  it(
    'has room on a phone for the longer words of German',
    async () => {
      await using signedIn = await fleet.open('boss', 'phone')
      const { page, go, problems } = signedIn
      await go('#/system')
      await page.getByRole('button', { name: 'Deutsch' }).click()
      await page.getByRole('button', { name: 'English' }).waitFor()
      for (const [name, hash] of PAGES) {
        await go(hash)
        await page.locator('.loading').waitFor({ state: 'detached' })
        await picture(page, `${name}-phone-de`)
        expect.soft(await widerThanScreen(page), name).toBe(false)
      }
      expect(problems).toEqual([])
    },
    patience(60_000),
  )

  it(
    'speaks German, and stays in it',
    async () => {
      await using signedIn = await fleet.open('boss')
      const { page } = signedIn
      await page.getByRole('button', { name: 'Deutsch' }).click()
      await page.getByRole('heading', { name: 'Heute' }).waitFor()
      await page.reload()
      await page.getByRole('heading', { name: 'Heute' }).waitFor()
      expect(await page.locator('html').getAttribute('lang')).toBe('de')
    },
    patience(60_000),
  )

  it(
    'opens the pairing window as a switch, and takes back who came in by it',
    async () => {
      await using signedIn = await fleet.open('boss')
      const { page, go } = signedIn
      await go('#/pairing')
      await page.getByRole('switch', { name: 'Let new devices in' }).click()
      await page.getByRole('timer').waitFor()
      const lamp = await fleet.app.device('guest1', 'a-key-of-a-guest-that-is-long')
      await lamp.publish('limb/node/guest1/register', {
        displayName: 'Guest',
        platform: 'demo',
        capabilities: [],
      })
      const line = page.locator('.lines li', { has: page.getByRole('link', { name: 'Guest' }) })
      await line.getByRole('button', { name: 'Undo' }).click()
      await page.getByRole('dialog').getByRole('button', { name: 'Undo' }).click()
      await line.waitFor({ state: 'detached' })
      await page.getByRole('switch', { name: 'Let new devices in' }).click()
      await page.getByRole('timer').waitFor({ state: 'detached' })
      const refused = page
        .locator('.card', { has: page.getByRole('heading', { name: 'Refused keys' }) })
        .locator('li', { hasText: 'guest1' })
      await refused.getByRole('button', { name: 'Forgive' }).click()
      await refused.waitFor({ state: 'detached' })
    },
    patience(60_000),
  )
})
