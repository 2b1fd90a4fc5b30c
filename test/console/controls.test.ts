import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { PacketReader, packet } from '../support/mqtt-wire.ts'
import { needs } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { type ConsoleFleet, passwordOf, type SignedIn, signIn, startBrowser, startFleet } from './fleet.ts'

/** The controls of a limb whose new value comes long after the answer to its command. */

needs('chromium')

/** Longer than a page shows what was asked for, behind the answer. */
const BEHIND_MS = 2500

let browser: Browser
let fleet: ConsoleFleet & AsyncDisposable

beforeAll(async () => {
  browser = await startBrowser()
  fleet = await startFleet(browser)
  await fleet.release('lamp1')
}, patience(60_000))
afterAll(async () => {
  await browser?.close()
  await fleet?.[Symbol.asyncDispose]()
})

interface SlowLamp extends SignedIn {
  /** Keeps back what the lamp says of itself from now on. */
  hold(): void
  /** Hands on what was kept back, and keeps nothing back any more. */
  say(): void
  /** How many answers to the page's requests it was sent. */
  answers(): number
}

/** The page of the lamp, on a clock that stands still. */
async function openLamp(): Promise<SlowLamp> {
  const opened = await fleet.blank()
  const { page } = opened
  const held: Buffer[] = []
  let holds = false
  let answers = 0
  let send = (_: Buffer) => {}
  await page.clock.install()
  await page.routeWebSocket(/\/mqtt$/, (route) => {
    send = (bytes) => route.send(bytes)
    const reader = new PacketReader((first, body) => {
      const bytes = packet(first, body)
      const isValue = bytes.includes('limb/node/lamp1/data/')
      if (bytes.includes('limb/principal/boss/response/')) answers++
      if (holds && isValue) held.push(bytes)
      else send(bytes)
    })
    // What the lamp says and the answer may come in one frame.
    route.connectToServer().onMessage((message) => reader.push(Buffer.from(message)))
  })
  await page.reload()
  await signIn(page, 'boss', passwordOf('boss'))
  await opened.go('#/limb/lamp1')
  await light(page).waitFor()
  await page.clock.pauseAt(Date.now() + 1000)
  return {
    ...opened,
    hold: () => {
      holds = true
    },
    say: () => {
      holds = false
      for (const bytes of held.splice(0)) send(bytes)
    },
    answers: () => answers,
  }
}

const light = (page: Page) => page.getByRole('switch', { name: 'Light' })
const isOn = async (page: Page) => (await light(page).getAttribute('aria-checked')) === 'true'

/** Polls while the page's clock goes on by itself, a frame after the other. */
const soon = (page: Page, look: () => unknown) =>
  expect.poll(async () => {
    await page.clock.runFor(20)
    return look()
  })

/** Presses the switch of a lamp that says nothing of it, and waits for the answer. */
async function press(lamp: SlowLamp): Promise<boolean> {
  const { page } = lamp
  const asked = !(await isOn(page))
  lamp.hold()
  const before = lamp.answers()
  await light(page).click()
  await soon(page, lamp.answers).toBeGreaterThan(before)
  return asked
}

it('shows what was asked for from the press until the limb says it, however often one looks', async () => {
  await using lamp = await openLamp()
  const { page } = lamp
  const asked = await press(lamp)
  for (let i = 0; i < 20; i++) {
    await page.clock.runFor(50)
    expect(await isOn(page)).toBe(asked)
  }
  lamp.say()
  await page.clock.runFor(BEHIND_MS)
  expect(await isOn(page)).toBe(asked)
})

it('shows again what the limb says when it never says what was asked for', async () => {
  await using lamp = await openLamp()
  const { page } = lamp
  const asked = await press(lamp)
  expect(await isOn(page)).toBe(asked)
  await page.clock.runFor(BEHIND_MS)
  expect(await isOn(page)).toBe(!asked)
})
