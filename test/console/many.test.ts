import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { onFreePort } from '../support/app.ts'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { connect, type TestClient } from '../support/client.ts'
import { type ControlClient, connectControl } from '../support/control-client.ts'
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
/** The limbs whose status changes; a page shows them without scrolling. */
const CHANGING = Array.from({ length: 10 }, (_, index) => nodeId(index))
/** One more limb, which lives beside all this. */
const BYSTANDER = nodeId(LIMBS)

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
  const nodes = Array.from({ length: LIMBS + 1 }, (_, index) => ({
    nodeId: nodeId(index),
    displayName: `Limb ${index}`,
    platform: 'scale',
    apiKey: key(index),
  }))
  await control.do('node/import', { nodes })
  const made = await control.do('token/add', { principal: 'boss', name: 'consoles' })
  token = String(made.token)
  control.client.end()
  // Fifty processes that draw are more than two cores can start: pages of one site may share one.
  browser = await startBrowser('--renderer-process-limit=4')
  context = await browser.newContext({ viewport: SIZES.desk, locale: 'en-GB' })
  context.setDefaultTimeout(patience(30_000 + PAGES * 1000))
}, patience(60_000))

afterAll(async () => {
  for (const session of sessions) session.end(true)
  await browser?.close()
  await bridge?.kill()
  rmSync(folder, { recursive: true, force: true })
})

/** What one console has seen of each limb: its statuses in order, each with the time of day in milliseconds. */
type Seen = Map<string, { readonly status: string; readonly at: number }[]>

/** Of each limb, when it said its statuses. */
const saidAt = new Map<string, number[]>()

function see(seen: Seen, id: string, status: string): void {
  const before = seen.get(id) ?? []
  if (before.at(-1)?.status !== status) before.push({ status, at: Date.now() })
  seen.set(id, before)
}

/** Opens a session as a page does: every retained state, events, responses, and the verbs of the first page. */
async function openSession(index: number): Promise<Seen> {
  const seen: Seen = new Map()
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
    if (kind === 'node' && leaf === 'state') see(seen, id, JSON.parse(payload.toString()).status)
  })
  session.on('connect', () => {
    seen.clear()
    session.subscribe(['limb/principal/boss/response/#', 'limb/bridge/#', 'limb/node/+/state'], { qos: 1 })
    for (const verb of ['bridge/health', 'audit/list'])
      session.publish(`limb/principal/boss/request/${verb}`, '{"transaction":1}', { qos: 1 })
  })
  sessions.push(session)
  await expect.poll(() => seen.size, { timeout: patience(30_000) }).toBe(LIMBS + 1)
  return seen
}

/** Keeps what the rows of a page show, as `see` does: [nodeId, status, time of day], and `shown(n)` waits for n of them. */
const WATCH = `(() => {
  const log = []
  const last = new Map()
  let waiting = () => {}
  const look = () => {
    for (const row of document.querySelectorAll('.virtual-rows .row')) {
      const id = row.querySelector('.name small').textContent
      const status = row.querySelector('.status').classList[1]
      if (last.get(id) === status) continue
      last.set(id, status)
      log.push([id, status, Date.now()])
    }
    waiting()
  }
  globalThis.shown = (wanted) => new Promise((resolve) => {
    waiting = () => wanted.every(([id, status]) => last.get(id) === status) && resolve(log)
    look()
  })
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true })
  look()
})()`

async function openPage(): Promise<void> {
  const page = await context.newPage()
  await page.goto(`http://127.0.0.1:${ports.http}/`)
  // The first with its password; a password takes a processor for a while, and the others have been here before.
  await signIn(page, 'boss', pages.length === 0 ? passwordOf('boss') : token)
  await page.goto(`http://127.0.0.1:${ports.http}/#/limbs`)
  await page.getByText(`${LIMBS + 1} limbs`).waitFor()
  await page.evaluate(WATCH)
  pages.push(page)
}

/** What a page has shown when each of these limbs shows this status. */
async function shownBy(page: Page, ids: readonly string[], status: string): Promise<Seen> {
  const wanted = JSON.stringify(ids.map((id) => [id, status]))
  const seen: Seen = new Map()
  for (const [id, status, at] of await page.evaluate<[string, string, number][]>(`shown(${wanted})`))
    seen.set(id, [...(seen.get(id) ?? []), { status, at }])
  return seen
}

/**
 * Those who must notice nothing: an operator on the control socket and a limb, which do something every tenth of a second. Keeps how
 * long each waited, in milliseconds.
 */
class Bystanders {
  readonly control: number[] = []
  readonly limb: number[] = []
  #ended = false
  #running: Promise<void> | undefined

  start(control: ControlClient, limb: TestClient): void {
    this.#running = this.#run(control, limb)
    // What went wrong is told by `end`.
    this.#running.catch(() => undefined)
  }

  async #run(control: ControlClient, limb: TestClient): Promise<void> {
    while (!this.#ended) {
      const asked = performance.now()
      await control.do('bridge/health')
      this.control.push(performance.now() - asked)
      const beat = performance.now()
      await limb.publish(`limb/node/${BYSTANDER}/heartbeat`, { status: 'online' })
      this.limb.push(performance.now() - beat)
      await sleep(100)
    }
  }

  async end(): Promise<void> {
    this.#ended = true
    await this.#running
  }
}

const at = (sorted: readonly number[], share: number) =>
  Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN)

const times = (ms: readonly number[]) => {
  if (ms.length === 0) return 'no time at all, for there is none'
  const sorted = ms.toSorted((a, b) => a - b)
  return `${at(sorted, 0.5)} ms (half), ${at(sorted, 0.99)} ms (99 %), ${at(sorted, 1)} ms (longest)`
}

it(
  'all see each change of a limb, nobody else notices them, and all come back after the bridge was killed',
  async () => {
    const control = await connectControl(bridge.control)
    const bystander = await connect({ port: ports.mqtt }, { username: BYSTANDER, password: key(LIMBS) })
    const bystanders = new Bystanders()
    bystanders.start(control, bystander)
    const opened = performance.now()
    const usedAtFirst = cpuMs(bridge.pid)
    for (let index = 0; index < Math.min(PAGES, CONSOLES); index++) await openPage()
    const seen = await Promise.all(
      Array.from({ length: CONSOLES - pages.length }, (_, index) => openSession(index)),
    )
    const openMs = performance.now() - opened
    const limbs: TestClient[] = []
    for (let index = 0; index < CHANGING.length; index++)
      limbs.push(await connect({ port: ports.mqtt }, { username: nodeId(index), password: key(index) }))

    const usedBefore = cpuMs(bridge.pid)
    let shown: Seen[] = []
    for (let turn = 0; turn < CHANGES / limbs.length; turn++) {
      const status = turn % 2 === 0 ? 'online' : 'busy'
      for (const [index, limb] of limbs.entries()) {
        saidAt.set(nodeId(index), [...(saidAt.get(nodeId(index)) ?? []), Date.now()])
        await limb.publish(`limb/node/${nodeId(index)}/heartbeat`, { status })
      }
      const allSee = () =>
        seen.every((each) => CHANGING.every((id) => each.get(id)?.at(-1)?.status === status))
      shown = await Promise.all(pages.map((page) => shownBy(page, CHANGING, status)))
      await expect.poll(allSee, { timeout: patience(10_000) }).toBe(true)
    }
    const delays = (consoles: readonly Seen[]) =>
      consoles.flatMap((each) =>
        CHANGING.flatMap((id) =>
          // The first is what it was before.
          (each.get(id) ?? []).slice(1).map(({ at }, index) => at - (saidAt.get(id)?.[index] ?? Number.NaN)),
        ),
      )
    const used = cpuMs(bridge.pid) - usedBefore
    const mebibytes = Math.round(rssBytes(bridge.pid) / 2 ** 20)
    await bystanders.end()
    console.log(
      [
        `${CONSOLES} consoles (${pages.length} in the browser) of ${LIMBS + 1} limbs: open after ${Math.round(openMs)} ms, ${usedBefore - usedAtFirst} ms of CPU`,
        `${CHANGES} changes: shown by a page after ${times(delays(shown))}; known to a session after ${times(delays(seen))}; ${used} ms of CPU; ${mebibytes} MiB`,
        `meanwhile the control socket answers after ${times(bystanders.control)}, a limb's heartbeat is acknowledged after ${times(bystanders.limb)}`,
      ].join('\n'),
    )
    // Nobody was left out, and nobody saw anything but what was said.
    expect(delays(shown)).toHaveLength(pages.length * CHANGES)
    expect(delays(seen)).toHaveLength(seen.length * CHANGES)
    for (const waited of [bystanders.control, bystanders.limb]) {
      const sorted = waited.toSorted((a, b) => a - b)
      expect(at(sorted, 0.5)).toBeLessThan(patience(250))
      expect(at(sorted, 0.95)).toBeLessThan(patience(2000))
    }
    const { items } = await control.do('node/history', { nodeId: BYSTANDER })
    expect(items).toEqual([expect.objectContaining({ status: 'online' })])
    expect(mebibytes).toBeLessThan(400)
    for (const limb of [bystander, ...limbs]) limb.mqtt.end(true)
    control.client.end()

    await bridge.kill()
    for (const page of pages) await page.getByText('The connection to the bridge is lost').waitFor()
    const killed = performance.now()
    for (const each of seen) each.clear()
    await start()
    await expect
      .poll(() => seen.every(({ size }) => size === LIMBS + 1), { timeout: patience(30_000) })
      .toBe(true)
    for (const page of pages) {
      await page.locator('.banner').waitFor({ state: 'detached' })
      await page.getByText(`${LIMBS + 1} limbs`).waitFor()
    }
    console.log(`all ${CONSOLES} are back ${Math.round(performance.now() - killed)} ms after the kill`)
  },
  patience(120_000 + PAGES * 15_000),
)
