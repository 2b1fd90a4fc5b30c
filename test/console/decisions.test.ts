import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestClient } from '../support/client.ts'
import { needs } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import {
  axe,
  brokenWords,
  type ConsoleFleet,
  picture,
  SIZES,
  type Size,
  startBrowser,
  startFleet,
  widerThanScreen,
} from './fleet.ts'

/** What an operator decides about devices, and a first start: in a real browser, at a desk and on a phone. */

needs('chromium')

let browser: Browser
let fleet: ConsoleFleet & AsyncDisposable

beforeAll(async () => {
  browser = await startBrowser()
  fleet = await startFleet(browser)
}, patience(60_000))
afterAll(async () => {
  await browser?.close()
  await fleet?.[Symbol.asyncDispose]()
})

/** Looks at one page at both sizes; it stays at that of a phone. */
async function atBothSizes(page: Page, name: string): Promise<void> {
  for (const size of ['desk', 'phone'] as Size[]) {
    await page.setViewportSize(SIZES[size])
    await picture(page, `${name}-${size}`)
    expect.soft(await axe(page), `${name} at the size of a ${size}`).toEqual([])
    expect.soft(await widerThanScreen(page), `${name} at the size of a ${size}`).toBe(false)
  }
}

const capability = (commands: readonly string[], authLevel: string) => ({ cap: 'arm', commands, authLevel })
const registration = (displayName: string, commands = ['arm.stop'], authLevel = 'gated') => ({
  displayName,
  platform: 'test',
  capabilities: [capability(commands, authLevel)],
})

/** Connects with a key of its own and asks to be paired. */
async function claim(nodeId: string, key: string, displayName: string): Promise<[TestClient, code: string]> {
  const device = await fleet.app.device(nodeId, key)
  await device.subscribe(`limb/node/${nodeId}/pairing`)
  await device.publish(`limb/node/${nodeId}/register`, registration(displayName))
  const { json } = await device.next(`limb/node/${nodeId}/pairing`)
  return [device, json.code]
}

const card = (page: Page, text: string) => page.locator('.card.request', { hasText: text })

describe('an operator', () => {
  it(
    'sets the area and a policy of many limbs at once, revokes them after a question, and is told which failed',
    async () => {
      const { admin } = fleet
      const names = ['press1', 'press2', 'press3']
      await admin.do('admin', 'node/import', {
        nodes: names.map((nodeId) => ({ nodeId, displayName: `Press ${nodeId}`, platform: 'test' })),
      })
      await using signedIn = await fleet.open('boss')
      const { page, go, problems } = signedIn
      await go('#/limbs?q=press')
      const rows = page.locator('.virtual-rows .row')
      await expect.poll(() => rows.count()).toBe(3)
      await page.getByLabel('Choose all that are shown').check()
      const bulk = page.getByRole('toolbar', { name: 'Chosen limbs' })
      await bulk.getByText('3 chosen').waitFor()
      await atBothSizes(page, 'limbs-bulk')
      const dialog = page.getByRole('dialog')

      await bulk.getByRole('button', { name: 'Set the area' }).click()
      await dialog.getByLabel('Area').fill('Hall 2')
      await dialog.getByRole('button', { name: 'Save' }).click()
      await dialog.waitFor({ state: 'detached' })
      for (const nodeId of names)
        expect(await admin.do('admin', 'node/get', { nodeId })).toMatchObject({
          description: { area: 'Hall 2' },
        })

      await bulk.getByRole('button', { name: 'Set a policy' }).click()
      await dialog.getByLabel('Level').selectOption('denied')
      expect(await axe(page)).toEqual([])
      await dialog.getByRole('button', { name: 'Save' }).click()
      await dialog.waitFor({ state: 'detached' })
      const { items } = await admin.do('admin', 'policy/list', {})
      expect(items.filter((item: { nodeId: string }) => names.includes(item.nodeId))).toHaveLength(3)

      await bulk.getByRole('button', { name: 'Revoke' }).click()
      expect(await dialog.innerText()).toMatch(/Revoke 3 limbs\?[\s\S]*press1/)
      await page.keyboard.press('Escape')
      await dialog.waitFor({ state: 'detached' })
      expect(await rows.count()).toBe(3)
      // Another operator is quicker with one of them; its row goes, and the choice still holds it.
      await admin.do('admin', 'node/revoke', { nodeId: 'press2' })
      await expect.poll(() => rows.count()).toBe(2)
      await bulk.getByRole('button', { name: 'Revoke' }).click()
      await dialog.getByRole('button', { name: 'Revoke' }).click()
      await expect.poll(() => rows.count()).toBe(0)
      await expect.poll(() => bulk.count()).toBe(0)
      for (const nodeId of names)
        expect((await admin.ask('admin', 'node/get', { nodeId })).error.code).toBe('not_found')
      expect(problems).toEqual([])
    },
    patience(60_000),
  )

  it(
    'chooses many limbs on a phone too, and a tap beside the box opens none',
    async () => {
      const { admin } = fleet
      const names = ['thumb1', 'thumb2', 'thumb3']
      await admin.do('admin', 'node/import', {
        nodes: names.map((nodeId) => ({ nodeId, displayName: `Thumb ${nodeId}`, platform: 'test' })),
      })
      await using signedIn = await fleet.open('boss', 'phone')
      const { page, go, problems } = signedIn
      await go('#/limbs?q=thumb')
      const rows = page.locator('.virtual-rows .row')
      await expect.poll(() => rows.count()).toBe(3)
      const place = rows.first().locator('.choose')
      const { width, height } = (await place.boundingBox()) ?? { width: 0, height: 0 }
      expect(Math.min(width, height)).toBeGreaterThanOrEqual(32)
      await place.click({ position: { x: 2, y: height - 3 } })
      await rows.nth(1).locator('.choose').click()
      const bulk = page.getByRole('toolbar', { name: 'Chosen limbs' })
      await bulk.getByText('2 chosen').waitFor()
      expect(page.url()).toContain('#/limbs')
      await picture(page, 'limbs-bulk-thumb')
      expect(await axe(page)).toEqual([])
      expect(await widerThanScreen(page)).toBe(false)
      await bulk.getByRole('button', { name: 'Set the area' }).click()
      const dialog = page.getByRole('dialog')
      await dialog.getByLabel('Area').fill('Hall 3')
      await dialog.getByRole('button', { name: 'Save' }).click()
      await dialog.waitFor({ state: 'detached' })
      const areas = await Promise.all(
        names.map(async (nodeId) => (await admin.do('admin', 'node/get', { nodeId })).description?.area),
      )
      expect(areas.filter((area) => area === 'Hall 3')).toHaveLength(2)
      for (const nodeId of names) await admin.do('admin', 'node/revoke', { nodeId })
      expect(problems).toEqual([])
    },
    patience(60_000),
  )

  it(
    'replaces a device by another that asks for its name: the name and the policies stay, the old key ends',
    async () => {
      const { app, admin } = fleet
      const old = await app.limb('gate1', registration('Gate'))
      await admin.do('admin', 'node/rename', { nodeId: 'gate1', displayName: 'Gate of the yard' })
      const policy = { principal: 'agent', nodeId: 'gate1', capability: 'arm', level: 'denied' }
      await admin.do('admin', 'policy/set', policy)
      await using signedIn = await fleet.open('boss')
      const { page, go, problems } = signedIn
      await go('#/limb/gate1?tab=settings')
      const replace = page.locator('.card', {
        has: page.getByRole('heading', { name: 'Replace the device' }),
      })
      await replace.getByText('No other device asks for this name now.').waitFor()
      await replace.getByRole('link', { name: 'How a device connects' }).click()
      await page.getByText('-u gate1').waitFor()
      await page.goBack()
      const [device, code] = await claim('gate1', 'the-key-of-the-new-gate-device', 'Gate 2')
      await replace.getByText('Another device asks for this name.').waitFor()
      await atBothSizes(page, 'limb-replace')
      await replace.getByRole('link', { name: 'Compare the code' }).click()
      const request = card(page, 'gate1')
      await request.getByText('replaces a device').waitFor()
      await atBothSizes(page, 'pairing-replace')
      await request.getByLabel(/Last four letters/).fill(code.slice(4))
      await request.getByRole('button', { name: 'Approve' }).click()
      expect((await device.next('limb/node/gate1/pairing')).json).toMatchObject({ status: 'approved' })
      await request.waitFor({ state: 'detached' })
      await expect.poll(() => old.mqtt.connected).toBe(false)
      expect(await admin.do('admin', 'node/get', { nodeId: 'gate1' })).toMatchObject({
        displayName: 'Gate of the yard',
      })
      expect((await admin.do('admin', 'policy/list', { nodeId: 'gate1' })).items).toMatchObject([policy])
      expect(problems).toEqual([])
      old.mqtt.end(true)
    },
    patience(60_000),
  )

  it(
    'sees what a limb wants more than it has, lets it have that with a stricter level, and refuses it another time',
    async () => {
      const { app, admin } = fleet
      const limb = await app.limb('lift1', registration('Lift'))
      await using signedIn = await fleet.open('boss')
      const { page, go, problems } = signedIn
      await go('#/pairing')
      const more = {
        ...registration('Lift'),
        capabilities: [
          {
            cap: 'arm',
            authLevel: 'free',
            commands: [
              'arm.stop',
              { name: 'arm.raise', title: 'Raise the arm', description: 'Up to the top.' },
            ],
          },
        ],
      }
      await limb.publish('limb/node/lift1/register', more)
      const request = card(page, 'lift1')
      const difference = request.locator('.difference')
      expect(await difference.innerText()).toMatch(/\+\s*arm\.raise\s+Raise the arm\s+Up to the top\./)
      expect(await difference.locator('.loosened').innerText()).toMatch(/arm\s+gated\s*→\s*free/i)
      await atBothSizes(page, 'pairing-widening')
      await request.getByLabel(/Level of arm/).selectOption('leased')
      await request.getByRole('button', { name: 'Approve' }).click()
      await request.waitFor({ state: 'detached' })
      expect((await admin.do('admin', 'node/get', { nodeId: 'lift1' })).capabilities).toMatchObject([
        { cap: 'arm', commands: ['arm.stop', 'arm.raise'], authLevel: 'leased' },
      ])
      await limb.publish(
        'limb/node/lift1/register',
        registration('Lift', ['arm.stop', 'arm.raise', 'arm.hurl'], 'leased'),
      )
      await request.getByText('+ arm.hurl').waitFor()
      await request.getByRole('button', { name: 'Reject' }).click()
      const dialog = page.getByRole('dialog')
      expect(await dialog.innerText()).toContain('The limb keeps what it has')
      await dialog.getByRole('button', { name: 'Reject' }).click()
      await request.waitFor({ state: 'detached' })
      expect((await admin.do('admin', 'node/get', { nodeId: 'lift1' })).capabilities).toMatchObject([
        { commands: ['arm.stop', 'arm.raise'] },
      ])
      expect(problems).toEqual([])
      limb.mqtt.end(true)
    },
    patience(60_000),
  )

  it(
    'sees two devices that claim one name side by side, and lets in the one with the right code',
    async () => {
      await using signedIn = await fleet.open('boss')
      const { page, go, problems } = signedIn
      await go('#/pairing')
      const [right, code] = await claim('crane1', 'the-key-of-the-right-crane-1', 'Crane')
      const [other, otherCode] = await claim('crane1', 'the-key-of-the-other-crane-1', 'Crane (other)')
      const conflict = page.getByRole('region', { name: '2 devices claim the name crane1.' })
      await conflict.getByText('Only one can have it: compare the codes.').waitFor()
      const cards = conflict.locator('.card.request')
      expect(await cards.count()).toBe(2)
      await atBothSizes(page, 'pairing-conflict')
      const wanted = cards.filter({ hasText: code.slice(4) })
      await wanted.getByLabel(/Last four letters/).fill(otherCode.slice(4))
      await wanted.getByRole('alert').waitFor()
      expect(await wanted.getByRole('button', { name: 'Approve' }).isDisabled()).toBe(true)
      await wanted.getByLabel(/Last four letters/).fill(code.slice(4))
      await wanted.getByRole('button', { name: 'Approve' }).click()
      await cards.first().waitFor({ state: 'detached' })
      expect((await right.next('limb/node/crane1/pairing')).json).toMatchObject({ status: 'approved' })
      expect((await other.next('limb/node/crane1/pairing')).json).toMatchObject({ status: 'rejected' })
      await page.getByText('another claim was approved').waitFor()
      expect(problems).toEqual([])
      for (const device of [right, other]) device.mqtt.end(true)
    },
    patience(60_000),
  )

  it(
    'sees which steps a newcomer has made, what it has not subscribed, and that it has when it does',
    async () => {
      const { app, admin } = fleet
      await using signedIn = await fleet.open('boss')
      const { page, go, problems } = signedIn
      await go('#/pairing')
      const key = 'the-key-of-a-winch-that-comes-later'
      await admin.do('admin', 'node/provision', {
        nodeId: 'winch1',
        ...registration('Winch'),
        apiKey: key,
      })
      const newcomer = page.locator('.newcomer', { hasText: 'Winch' })
      const done = async () =>
        (await newcomer.locator('.done').allInnerTexts()).map((text) => text.replace(/^done:\s*/, '').trim())
      await expect.poll(done).toEqual(['asked', 'approved'])
      await newcomer.getByText('winch1 is not connected').waitFor()
      const winch = await app.device('winch1', key)
      await winch.publish('limb/node/winch1/heartbeat', {})
      await expect.poll(done).toEqual(['asked', 'approved', 'first heartbeat'])
      await newcomer.getByText('has not subscribed limb/node/winch1/invoke').waitFor()
      await atBothSizes(page, 'pairing-steps')
      await winch.subscribe('limb/node/winch1/invoke')
      await expect.poll(done).toEqual(['asked', 'approved', 'subscribed', 'first heartbeat'])
      await newcomer.locator('.note').waitFor({ state: 'detached' })
      expect(problems).toEqual([])
      await winch.end()
      await admin.do('admin', 'node/revoke', { nodeId: 'winch1' })
    },
    patience(60_000),
  )

  it(
    'reads on a phone which level a principal has on a limb, however long its name',
    async () => {
      const { admin } = fleet
      const nodeId = `meter-${'of-the-cellar-'.repeat(4)}1`
      await admin.do('admin', 'node/provision', { nodeId, ...registration('Meter') })
      await using signedIn = await fleet.open('boss', 'phone')
      const { page, go, problems } = signedIn
      await go('#/access?tab=policies')
      await page.getByLabel('Principals').fill('agent')
      const row = page.locator('.matrix tbody tr', { hasText: nodeId })
      await expect.poll(() => page.locator('.matrix thead th').count()).toBe(3)
      await row.scrollIntoViewIfNeeded()
      await picture(page, 'matrix-phone')
      const edge = async (cell: number) => {
        const box = await row.locator('th, td').nth(cell).boundingBox()
        return (box?.x ?? 0) + (box?.width ?? Number.POSITIVE_INFINITY)
      }
      // The limb, its capability, and the level: without scrolling sideways.
      expect(await row.locator('td').last().innerText()).toMatch(/gated/i)
      for (const cell of [0, 1, 2]) expect(await edge(cell)).toBeLessThanOrEqual(SIZES.phone.width)
      expect(await widerThanScreen(page)).toBe(false)
      expect(await brokenWords(page)).toEqual([])
      expect(problems).toEqual([])
      await admin.do('admin', 'node/revoke', { nodeId })
    },
    patience(60_000),
  )

  it(
    'reads units as people write them, and numbers as their language does',
    async () => {
      const { app, admin } = fleet
      const meter = await app.limb('meter1', {
        displayName: 'Meter',
        platform: 'test',
        capabilities: [
          {
            cap: 'heat',
            authLevel: 'free',
            commands: [
              {
                name: 'heat.set',
                title: 'Heat',
                input: {
                  type: 'object',
                  properties: {
                    to: { type: 'number', unit: 'Cel', minimum: 5, maximum: 30, multipleOf: 0.5 },
                  },
                  required: ['to'],
                },
              },
            ],
          },
        ],
        properties: [
          { name: 'used', title: 'Used', topic: 'data/used', type: 'number', unit: 'kW.h' },
          {
            name: 'goal',
            title: 'Goal',
            topic: 'data/goal',
            type: 'number',
            unit: 'Cel',
            minimum: 5,
            maximum: 30,
            set: { command: 'heat.set', param: 'to' },
          },
        ],
      })
      await meter.publish('limb/node/meter1/data/used', '1234.567', { qos: 1, retain: true })
      await meter.publish('limb/node/meter1/data/goal', '21.5', { qos: 1, retain: true })
      await using signedIn = await fleet.open('boss')
      const { page, go, problems } = signedIn
      await go('#/limb/meter1')
      await page.getByText('1,234.57 kWh').waitFor()
      const goal = page.locator('.settable', { has: page.getByLabel('Goal (°C)') })
      await goal.getByText('21.5', { exact: true }).waitFor()
      await page.getByLabel('to (°C)').waitFor()
      await atBothSizes(page, 'units')
      await page.setViewportSize(SIZES.desk)
      await page.getByRole('button', { name: 'Deutsch' }).click()
      await page.getByText('1.234,57 kWh').waitFor()
      await goal.getByText('21,5', { exact: true }).waitFor()
      expect(problems).toEqual([])
      await meter.end()
      await admin.do('admin', 'node/revoke', { nodeId: 'meter1' })
    },
    patience(60_000),
  )
})

describe('the link of a first start', () => {
  it(
    'takes a password twice, leads to the first device, and works once',
    async () => {
      const { app } = fleet
      const secret = app.bridge.firstStartSecret
      await using blank = await fleet.blank()
      const { page, problems } = blank
      await page.goto(`${fleet.url}#/first-start/${secret}`)
      await page.reload()
      const first = page.getByLabel('New password')
      const again = page.getByLabel('The same again')
      const submit = page.getByRole('button', { name: 'Set the password' })
      await first.fill('short')
      await again.fill('short')
      await submit.click()
      await page.getByRole('alert').getByText('At least 8 characters.').waitFor()
      await first.fill('a-new-password-of-admin')
      await again.fill('a-new-password-of-edmin')
      await submit.click()
      await page.getByRole('alert').getByText('The two are not the same.').waitFor()
      await atBothSizes(page, 'first-start')
      await again.fill('a-new-password-of-admin')
      await submit.click()
      await page.getByRole('heading', { level: 1, name: 'Add a device' }).waitFor()
      const address = `mqtt://127.0.0.1:${app.bridge.mqtt.port}`
      await page.getByText(address, { exact: true }).waitFor()
      expect(await page.getByRole('img', { name: new RegExp(address) }).count()).toBe(1)
      for (const name of ['mosquitto_pub', 'Arduino', 'ESPHome', 'Python']) {
        await page.getByRole('tab', { name }).click()
        const text = await page.getByRole('tabpanel', { name }).innerText()
        expect.soft(text, name).toContain('127.0.0.1')
        expect.soft(text, name).toContain(String(app.bridge.mqtt.port))
      }
      expect(page.url()).not.toContain(secret)
      const admin = await app.principal('admin', 'a-new-password-of-admin')
      await admin.end()
      expect(problems).toEqual([])

      await using late = await fleet.blank()
      await late.page.goto(`${fleet.url}#/first-start/${secret}`)
      await late.page.reload()
      await late.page.getByLabel('New password').fill('a-password-of-somebody-else')
      await late.page.getByLabel('The same again').fill('a-password-of-somebody-else')
      await late.page.getByRole('button', { name: 'Set the password' }).click()
      await late.page.getByRole('alert').waitFor()
      await expect(app.principal('admin', 'a-password-of-somebody-else')).rejects.toThrow()
    },
    patience(60_000),
  )
})
