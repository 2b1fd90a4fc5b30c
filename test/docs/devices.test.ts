import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../cli/run.ts'
import { startRadio } from '../makers/radio.ts'
import { startApp, type TestApp } from '../support/app.ts'
import type { TestClient } from '../support/client.ts'
import { Command } from '../support/command.ts'
import { skipWithout } from '../support/needs.ts'
import { patience } from '../support/patience.ts'

/**
 * The pages of docs/devices/ about firmware that was not made for us, line by line: the commands are run, what the firmware
 * sends is sent, and its settings are compared with that. Programs that Debian has are run with the settings of their page.
 */

const FOLDER = join(import.meta.dirname, '../../docs/devices')
const KEY = 'a-key-that-only-this-device-has'
/** These have tests of their own, which run what they show. */
const OTHERS = ['check.md', 'foreign.md', 'python-boards.md']

interface Page {
  readonly name: string
  readonly nodeId: string
  readonly commands: readonly string[]
  readonly messages: readonly Message[]
  readonly settings: string
}

interface Message {
  readonly how: 'will' | 'retain' | 'send'
  readonly topic: string
  readonly payload: string
}

function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map(
    (match) => match[1] ?? '',
  )
}

function linesOf(text: readonly string[]): string[] {
  return text.flatMap((block) => block.split('\n').filter((line) => line !== ''))
}

function pageOf(name: string): Page {
  const text = readFileSync(join(FOLDER, name), 'utf8')
  const messages = linesOf(blocks(text, 'mqtt')).map((line): Message => {
    const [, how, topic = '', payload = ''] = /^(will|retain|send) (\S+) (.*)$/.exec(line) ?? []
    return { how: how as Message['how'], topic, payload }
  })
  const settings = ['text', 'yaml', 'json', 'conf', 'run']
    .flatMap((language) => blocks(text, language))
    .join('')
  const nodeId = /node provision (\w+)/.exec(text)?.[1] ?? ''
  return { name, nodeId, commands: linesOf(blocks(text, 'sh')), messages, settings }
}

const pages = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.md') && !OTHERS.includes(name))
  .map(pageOf)

/** The words of a command line, as a shell would cut them; `$KEY` is the key. */
function words(line: string): string[] {
  const found = line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)
  return [...found].map(
    ([, single, double, bare]) => single ?? (double ?? bare ?? '').replaceAll('$KEY', KEY),
  )
}

let app: TestApp & AsyncDisposable
let admin: TestClient
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'limb-pages-'))
  app = await startApp({}, { memory: true })
  admin = await app.admin()
  await admin.subscribe(['limb/node/+/status', 'limb/node/+/data/#'])
}, patience(30_000))
afterAll(async () => {
  await app[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

async function command(line: string): Promise<string> {
  const [program, ...argv] = words(line)
  expect(program).toBe('limb-bridge')
  const { code, out, err } = await run(argv, { env: { LIMB_CONTROL_SOCKET: app.bridge.control } })
  expect(code, `${line}\n${err}`).toBe(0)
  return out
}

async function hasStatus(nodeId: string, status: string): Promise<void> {
  await admin.next(({ topic, text }) => topic === `limb/node/${nodeId}/status` && text === status)
}

/** Those that say when they go: the others are offline when nothing more comes. */
const AFTER_A_LOSS: Readonly<Record<string, string>> = { 'owntracks.md': 'asleep' }

describe.each(pages)('docs/devices/$name', (page) => {
  const { name, nodeId, commands, messages, settings } = page

  it('makes a limb of what the firmware sends', { timeout: patience(30_000) }, async () => {
    const [provision = '', ...rest] = commands
    await command(provision)
    // Of its approval: the one after the loss is another.
    await hasStatus(nodeId, 'offline')
    const will = messages.find(({ how }) => how === 'will')
    const device = await app.device(nodeId, KEY, {
      ...(will && { will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true } }),
    })
    for (const { how, topic, payload } of messages)
      if (how !== 'will') await device.publish(topic, payload, { qos: 1, retain: how === 'retain' })
    await hasStatus(nodeId, 'online')
    for (const line of rest) {
      const out = await command(line)
      if (line.includes('node get')) expect(out).toMatch(/^status: +online$/m)
    }
    device.cut()
    await hasStatus(nodeId, AFTER_A_LOSS[name] ?? 'offline')
    const why = await admin.do('admin', 'node/why', { nodeId })
    expect(why.lastDenied).toBeUndefined()
  })

  it('names in its settings the user and the topics that it then sends', () => {
    expect(settings).toContain(nodeId)
    const prefix = `limb/node/${nodeId}/data`
    const spelled = settings.replaceAll('%topic%', nodeId).replaceAll('%prefix%', 'tele')
    expect(spelled).toContain(prefix)
    expect(messages.length).toBeGreaterThan(0)
    for (const { topic } of messages) expect(topic.startsWith(`${prefix}/`), topic).toBe(true)
    // What it is described with is what it sends.
    for (const [, topic, pointer] of commands
      .join('\n')
      .matchAll(/"topic": "(data\/[^"]*)"(?:, "pointer": "([^"]*)")?/g)) {
      const sent = messages
        .filter((each) => each.topic === `limb/node/${nodeId}/${topic}`)
        .map(({ payload }) => payload)
      if (pointer === undefined) expect(sent).not.toEqual([])
      else expect(sent.map((text) => valueAt(JSON.parse(text), pointer)).filter(Boolean)).not.toEqual([])
    }
  })
})

function valueAt(value: unknown, pointer: string): unknown {
  return pointer
    .split('/')
    .slice(1)
    .reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value)
}

/** The settings of a page, for the bridge of the test. */
function here(name: string, language: string): string {
  const [text = ''] = blocks(readFileSync(join(FOLDER, name), 'utf8'), language)
  return text
    .replace('192.168.1.10:1883', `127.0.0.1:${app.bridge.mqtt.port}`)
    .replace('192.168.1.10', '127.0.0.1')
    .replace('Port 1883', `Port ${app.bridge.mqtt.port}`)
    .replaceAll('"KEY"', `"${KEY}"`)
}

describe('the real program', { timeout: patience(60_000) }, () => {
  it('rtl_433 is a limb with the command of its page, and what it hears is its data', async (context) => {
    skipWithout(context, 'rtl_433')
    const radio = await startRadio()
    const line = here('rtl_433.md', 'run')
      .trim()
      .replace('rtl_433 ', `rtl_433 -d rtl_tcp:127.0.0.1:${radio.port} `)
    {
      await using _program = new Command('/bin/sh', ['-c', `exec ${line}`], { KEY })
      await hasStatus('radio1', 'online')
      // The test of the page sent none of this topic.
      const { text } = await admin.next('limb/node/radio1/data/433/Nexus-TH/42/humidity', patience(30_000))
      expect(Number(text)).toBe(81)
    }
    radio.close()
  })

  it('collectd is a limb with the settings of its page', async (context) => {
    skipWithout(context, 'collectd', 'libmosquitto')
    const file = join(folder, 'collectd.conf')
    const own = `BaseDir "${folder}"\nPIDFile "${folder}/pid"\nTypesDB "/usr/share/collectd/types.db"\n`
    writeFileSync(file, own + here('collectd.md', 'conf').replace('Interval 10', 'Interval 1'))
    await using _program = new Command('/usr/sbin/collectd', ['-f', '-C', file])
    const { text } = await admin.next(
      ({ topic, text }) => topic === 'limb/node/nas1/data/nas1/load/load' && !text.startsWith('1795946400'),
      patience(30_000),
    )
    expect(text).toMatch(/^\d+(\.\d+)?(:[\d.]+){3}/)
    expect(await admin.do('admin', 'node/get', { nodeId: 'nas1' })).toMatchObject({ status: 'online' })
  })
})
