import type { Browser, Page, WebSocketRoute } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { needs } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { type ConsoleFleet, passwordOf, type SignedIn, signIn, startBrowser, startFleet } from './fleet.ts'

/** A page whose session is lost and comes back, with a network that delivers as badly as one may. */

needs('chromium')

const LIMBS = 60
/** First byte of a packet: SUBSCRIBE of a client, SUBACK of the bridge. */
const SUBSCRIBE = 0x82
const SUBACK = 0x90
/** More than a page waits, behind the last retained message, before what was not told again is gone. */
const SETTLED_MS = 6000

let browser: Browser
let fleet: ConsoleFleet & AsyncDisposable

beforeAll(async () => {
  browser = await startBrowser()
  fleet = await startFleet(browser)
  const nodes = Array.from({ length: LIMBS }, (_, index) => ({
    nodeId: `limb${index}`,
    apiKey: `key-of-limb-${index}-which-is-long-enough`,
  }))
  await fleet.admin.do('admin', 'node/import', { nodes })
}, patience(60_000))
afterAll(async () => {
  await browser?.close()
  await fleet?.[Symbol.asyncDispose]()
})

type Way = (page: WebSocketRoute, bridge: WebSocketRoute) => void

const straight: Way = () => {}

/** What stands behind another packet, mqtt.js reads in one go: no promise goes on between SUBACK and the states. */
const PINGRESP = Buffer.from([0xd0, 0x00])

/** All that the bridge sends is read in one go, from SUBACK to the last retained state. */
const inOnePiece: Way = (page, bridge) => {
  const held: Buffer[] = []
  bridge.onMessage((message) => {
    const bytes = Buffer.from(message)
    if (held.length === 0 && bytes[0] !== SUBACK) return page.send(bytes)
    held.push(bytes)
    const all = Buffer.concat(held)
    if (all.includes(`limb/node/limb${LIMBS - 1}/state`)) {
      page.send(Buffer.concat([PINGRESP, all]))
      held.length = 0
    }
  })
}

/** The connection ends within the states. */
const cutWithinStates: Way = (page, bridge) => {
  bridge.onMessage((message) => {
    const bytes = Buffer.from(message)
    const end = bytes.indexOf('limb/node/limb5/state')
    page.send(end === -1 ? bytes : bytes.subarray(0, end))
    if (end !== -1) void page.close()
  })
}

/** The connection ends when the page subscribes. */
const cutAtSubscribe: Way = (page, bridge) => {
  page.onMessage((message) => {
    if (Buffer.from(message)[0] === SUBSCRIBE) void page.close()
    else bridge.send(message)
  })
}

/** Nobody answers. */
const deaf: Way = (page) => {
  page.onMessage(() => {})
}

/** A page with all limbs, of which each connection goes its way; `cut` ends the one that it has. */
async function openOver(ways: readonly Way[]): Promise<SignedIn & { cut(): void; connections(): number }> {
  const opened = await fleet.blank()
  const { page } = opened
  let count = 0
  let current: WebSocketRoute | undefined
  await page.clock.install()
  await page.routeWebSocket(/\/mqtt$/, (route) => {
    const bridge = route.connectToServer()
    current = route
    ;(ways[count++] ?? straight)(route, bridge)
  })
  await page.reload()
  await signIn(page, 'boss', passwordOf('boss'))
  await opened.go('#/limbs')
  await limbsShown(page)
  return { ...opened, cut: () => void current?.close(), connections: () => count }
}

const limbsShown = (page: Page) => page.getByText(`${LIMBS} limbs`).waitFor()
/** The page has dropped what was not told again, and drawn what is left. */
async function settled(page: Page): Promise<void> {
  await page.clock.fastForward(SETTLED_MS)
  await page.clock.fastForward(1000)
}
const banner = (page: Page) => page.getByText('The connection to the bridge is lost')

it('shows every limb when all states come in one piece behind the answer to its subscription', async () => {
  await using opened = await openOver([straight, inOnePiece])
  const { page } = opened
  opened.cut()
  await banner(page).waitFor()
  await page.clock.fastForward(2000)
  await banner(page).waitFor({ state: 'detached' })
  await settled(page)
  await limbsShown(page)
})

it('keeps what it shows when it is lost again before all states have come', async () => {
  await using opened = await openOver([straight, cutWithinStates, ...Array.from({ length: 20 }, () => deaf)])
  const { page } = opened
  opened.cut()
  await expect
    .poll(async () => {
      await page.clock.fastForward(500)
      return opened.connections()
    })
    .toBeGreaterThan(2)
  await settled(page)
  await limbsShown(page)
})

it('does not say that it is there when it is lost before it has subscribed', async () => {
  await using opened = await openOver([straight, cutAtSubscribe, cutAtSubscribe])
  const { page } = opened
  const states: string[] = []
  await page.exposeFunction('bannerIs', (shown: string) => states.push(shown))
  opened.cut()
  await banner(page).waitFor()
  await page.evaluate(
    `new MutationObserver(() => {
       if (document.querySelector('.banner') === null) bannerIs('gone')
     }).observe(document.body, { subtree: true, childList: true })`,
  )
  await expect
    .poll(
      async () => {
        await page.clock.fastForward(1000)
        return opened.connections()
      },
      { timeout: patience(15_000) },
    )
    .toBeGreaterThan(2)
  expect(states).toEqual([])
})

it('forgets a limb that went while it was away', async () => {
  await using opened = await openOver([straight, cutAtSubscribe])
  const { page } = opened
  opened.cut()
  await banner(page).waitFor()
  await fleet.admin.do('admin', 'node/revoke', { nodeId: `limb${LIMBS - 1}` })
  await expect
    .poll(async () => {
      await page.clock.fastForward(500)
      return await banner(page).count()
    })
    .toBe(0)
  await settled(page)
  await page.getByText(`${LIMBS - 1} limbs`).waitFor()
})
