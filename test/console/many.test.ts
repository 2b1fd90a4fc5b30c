import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mqtt, { type MqttClient } from 'mqtt'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { onFreePort } from '../support/app.ts'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { connect, type TestClient } from '../support/client.ts'
import { connectControl } from '../support/control-client.ts'
import { needs } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { cpuMs, rssBytes } from '../support/process-usage.ts'
import { passwordOf, SIZES, signIn, startBrowser } from './fleet.ts'

/**
 * Fifty consoles of one bridge, which runs as a process: some in a real browser, the rest as sessions that sign in with a
 * token, as a page does after a reload, and subscribe and ask what it does. `CONSOLE_PAGES=50` puts all of them into the browser. Figures are printed.
 */

needs('chromium')

const CONSOLES = 50
const PAGES = Number(process.env.CONSOLE_PAGES ?? 2)
const LIMBS = 200
const CHANGES = 100
const key = (index: number) => `key-of-limb-${index}-which-is-long-enough`
const nodeId = (index: number) => `limb${index}`

const folder = mkdtempSync(join(tmpdir(), 'limb-consoles-'))
const sessions: MqttClient[] = []
const pages: Page[] = []
const ports = { mqtt: 0, http: 0 }
let browser: Browser
let context: BrowserContext
let bridge: BridgeProcess
let token = ''

async function start(): Promise<void> {
  const settings = {
    mqtt: { port: ports.mqtt },
    http: { port: ports.http },
    presence: { maxChangesPerSecond: 1000 },
  }
  bridge = await onFreePort(() => startBridge({ folder, settings }))
  ports.mqtt = bridge.mqtt.port
  ports.http = bridge.http?.port ?? 0
}

beforeAll(async () => {
  await start()
  const control = await connectControl(bridge.control)
  await control.do('principal/add', { name: 'boss', role: 'admin', password: passwordOf('boss') })
  const nodes = Array.from({ length: LIMBS }, (_, index) => ({
    nodeId: nodeId(index),
    displayName: `Limb ${index}`,
    platform: 'scale',
    apiKey: key(index),
  }))
  await control.do('node/import', { nodes })
  const made = await control.do('token/add', { principal: 'boss', name: 'consoles' })
  token = String(made.token)
  control.client.end()
  browser = await startBrowser()
  context = await browser.newContext({ viewport: SIZES.desk, locale: 'en-GB' })
  context.setDefaultTimeout(patience(30_000 + PAGES * 1000))
}, patience(60_000))

afterAll(async () => {
  for (const session of sessions) session.end(true)
  await browser?.close()
  await bridge?.kill()
  rmSync(folder, { recursive: true, force: true })
})

/** What a session has seen of each limb, and how late each change came. */
interface Seen {
  readonly states: Map<string, string>
  readonly delays: number[]
}

const sentAt = new Map<string, number>()

/** Opens a session as a page does: every retained state, events, responses, and the verbs of the first page. */
async function openSession(index: number): Promise<Seen> {
  const seen: Seen = { states: new Map(), delays: [] }
  const session = mqtt.connect(`ws://127.0.0.1:${ports.http}/mqtt`, {
    username: 'boss',
    password: token,
    clientId: `console-${index}`,
    clean: true,
    keepalive: 20,
    reconnectPeriod: 1000,
    reconnectOnConnackError: true,
    resubscribe: false,
  })
  session.on('error', () => undefined)
  session.on('message', (topic, payload) => {
    const [, kind, id = '', leaf] = topic.split('/')
    if (kind !== 'node' || leaf !== 'state') return
    const { status } = JSON.parse(payload.toString()) as { status: string }
    const at = sentAt.get(`${id} ${status}`)
    if (at !== undefined && seen.states.get(id) !== status) seen.delays.push(performance.now() - at)
    seen.states.set(id, status)
  })
  session.on('connect', () => {
    seen.states.clear()
    session.subscribe(['limb/principal/boss/response/#', 'limb/bridge/#', 'limb/node/+/state'], { qos: 1 })
    for (const verb of ['bridge/health', 'audit/list'])
      session.publish(`limb/principal/boss/request/${verb}`, '{"transaction":1}', { qos: 1 })
  })
  sessions.push(session)
  await expect.poll(() => seen.states.size, { timeout: patience(30_000) }).toBe(LIMBS)
  return seen
}

async function openPage(): Promise<void> {
  const page = await context.newPage()
  await page.goto(`http://127.0.0.1:${ports.http}/`)
  // The first with its password; a password takes a processor for a while, and the others have been here before.
  await signIn(page, 'boss', pages.length === 0 ? passwordOf('boss') : token)
  await page.goto(`http://127.0.0.1:${ports.http}/#/limbs`)
  await page.getByText(`${LIMBS} limbs`).waitFor()
  pages.push(page)
}

const at = (sorted: readonly number[], share: number) =>
  Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN)

it(
  'all see each change of a limb, and all come back after the bridge was killed',
  async () => {
    const opened = performance.now()
    for (let index = 0; index < Math.min(PAGES, CONSOLES); index++) await openPage()
    const seen = await Promise.all(
      Array.from({ length: CONSOLES - pages.length }, (_, index) => openSession(index)),
    )
    const openMs = performance.now() - opened
    const limbs: TestClient[] = []
    for (let index = 0; index < 10; index++)
      limbs.push(await connect({ port: ports.mqtt }, { username: nodeId(index), password: key(index) }))

    const usedBefore = cpuMs(bridge.pid)
    for (let turn = 0; turn < CHANGES / limbs.length; turn++) {
      const status = turn % 2 === 0 ? 'online' : 'busy'
      for (const [index, limb] of limbs.entries()) {
        sentAt.set(`${nodeId(index)} ${status}`, performance.now())
        await limb.publish(`limb/node/${nodeId(index)}/heartbeat`, { status })
      }
    }
    const last = (CHANGES / limbs.length) % 2 === 1 ? 'online' : 'busy'
    const hasLast = () =>
      seen.every(({ states }) => limbs.every((_limb, index) => states.get(nodeId(index)) === last))
    await expect.poll(hasLast, { timeout: patience(10_000 + PAGES * 1000) }).toBe(true)
    for (const page of pages) {
      const rows = page.locator('.virtual-rows .row', { hasText: new RegExp(last, 'i') })
      await rows.first().waitFor()
    }
    const delays = seen.flatMap((each) => each.delays).toSorted((a, b) => a - b)
    const used = cpuMs(bridge.pid) - usedBefore
    const mebibytes = Math.round(rssBytes(bridge.pid) / 2 ** 20)
    console.log(
      `${CONSOLES} consoles (${pages.length} in the browser) of ${LIMBS} limbs: open after ${Math.round(openMs)} ms; ${CHANGES} changes seen after ${at(delays, 0.5)} ms (half), ${at(delays, 0.99)} ms (99 %); ${used} ms of CPU; ${mebibytes} MiB`,
    )
    expect(mebibytes).toBeLessThan(400)
    for (const limb of limbs) limb.mqtt.end(true)

    await bridge.kill()
    for (const page of pages) await page.getByText('The connection to the bridge is lost').waitFor()
    const killed = performance.now()
    for (const each of seen) each.states.clear()
    await start()
    await expect
      .poll(() => seen.every(({ states }) => states.size === LIMBS), { timeout: patience(30_000) })
      .toBe(true)
    for (const page of pages) {
      await page.locator('.banner').waitFor({ state: 'detached' })
      await page.getByText(`${LIMBS} limbs`).waitFor()
    }
    console.log(`all ${CONSOLES} are back ${Math.round(performance.now() - killed)} ms after the kill`)
  },
  patience(120_000 + PAGES * 15_000),
)
