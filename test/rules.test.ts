import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

/** The house's rules are tests: rows of imports, one clock, no global settings. */

const SRC = resolve(import.meta.dirname, '../src')

const ROWS: Record<string, number> = {
  kernel: 0,
  protocol: 1,
  domain: 2,
  // No code of the bridge in a limb: the same row as the domain, so that it may import only the protocol.
  client: 2,
  // Messages of foreign firmware, as registrations: pure, and of the protocol alone.
  adapters: 2,
  bridge: 3,
  // It serves the command line and HTTP alike.
  mcp: 3,
  store: 4,
  broker: 4,
  http: 4,
  uplink: 4,
  homeassistant: 4,
  host: 4,
  // It serves main.ts, not the core, and shows what the host found.
  cli: 5,
  assembly: 5,
  'app.ts': 6,
  'serve.ts': 7,
  // It composes a bridge of its own, as serve.ts does.
  'device-check': 7,
  'main.ts': 8,
}

/**
 * The rooms inside a folder, lowest first: a file imports from lower rooms, and from its own. A room is a folder below
 * it; `.` names single files.
 */
const ROOMS: Record<string, readonly (readonly string[])[]> = {
  bridge: [
    ['ports.ts', 'mqtt-store.ts', 'webhook-ports.ts', 'settings.ts', 'verb-context.ts', 'audit.ts'],
    ['live'],
    ['access', 'presence', 'sign-in', 'upkeep', 'webhooks'],
    ['invocation', 'pairing'],
    ['adapters'],
    ['verbs'],
    ['core.ts'],
  ],
  cli: [
    ['exit.ts', 'context.ts', 'command-options.ts'],
    ['terminal'],
    ['session'],
    ['verbs', 'simulate', 'commands'],
    ['mcp'],
    ['command-line.ts'],
  ],
  host: [['config'], ['log', 'tls', 'systemd'], ['process', 'doctor']],
  'store/sqlite': [
    [
      'errors.ts',
      'files.ts',
      'copy.ts',
      'group-commit.ts',
      'inode-lock.ts',
      'lock.ts',
      'open-files.ts',
      'room.ts',
    ],
    ['tables'],
    ['schema', 'tx.ts', 'acknowledged.ts'],
    ['database.ts'],
    ['backup', 'mqtt', 'store.ts', 'webhook-queue.ts'],
    ['parts.ts', 'copying.ts'],
  ],
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
const source = (file: string) => readFileSync(join(SRC, file), 'utf8')
const placeOf = (file: string) => file.split('/')[0] as string

function importsOf(file: string): string[] {
  const found = source(file).matchAll(
    /^\s*(?:import|export)\b[^'"]*?from\s+['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)|^import\s+['"]([^'"]+)['"]/gm,
  )
  return [...found].map((match) => match[1] ?? match[2] ?? match[3] ?? '')
}

/** The files of src that a file imports. */
function localImports(file: string): string[] {
  return importsOf(file)
    .filter((name) => name.startsWith('.'))
    .map((name) => relative(SRC, resolve(SRC, dirname(file), name)))
    .filter((target) => files.includes(target))
}

/** The groups of files that import each other, found by Tarjan's walk. */
function circles(): string[][] {
  const arrows = new Map(files.map((file) => [file, localImports(file)]))
  const order = new Map<string, number>()
  const path: string[] = []
  const found: string[][] = []
  const visit = (file: string): number => {
    const number = order.size
    order.set(file, number)
    let low = number
    path.push(file)
    for (const target of arrows.get(file) ?? []) {
      if (!order.has(target)) low = Math.min(low, visit(target))
      else if (path.includes(target)) low = Math.min(low, order.get(target) ?? low)
    }
    if (low === number) {
      const group = path.splice(path.indexOf(file))
      if (group.length > 1 || arrows.get(file)?.includes(file)) found.push(group.sort())
    }
    return low
  }
  for (const file of files) if (!order.has(file)) visit(file)
  return found
}

describe('the house', () => {
  it('has a row for every folder and file of src', () => {
    expect([...new Set(files.map(placeOf))].filter((place) => ROWS[place] === undefined)).toEqual([])
  })

  it('lets imports point only to lower rows, and never between folders of one row', () => {
    const wrong: string[] = []
    for (const file of files) {
      for (const target of importsOf(file).filter((name) => name.startsWith('.'))) {
        const place = placeOf(relative(SRC, resolve(SRC, dirname(file), target)))
        const from = ROWS[placeOf(file)] ?? -1
        const to = ROWS[place] ?? Number.NaN
        if (place !== placeOf(file) && !(to < from)) wrong.push(`${file} imports ${target}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it.each(Object.entries(ROOMS))('lets the rooms of %s import lower rooms alone', (place, rows) => {
    const isOwn = (file: string) => file.startsWith(`${place}/`)
    const roomOf = (file: string) => file.slice(place.length + 1).split('/')[0] as string
    const rowOf = (file: string) => rows.findIndex((rooms) => rooms.includes(roomOf(file)))
    const own = files.filter(isOwn)
    expect(own.filter((file) => rowOf(file) === -1)).toEqual([])
    const wrong = own.flatMap((file) =>
      localImports(file)
        .filter((target) => isOwn(target) && roomOf(target) !== roomOf(file))
        // Files of the lowest row are one room.
        .filter((target) => rowOf(target) > 0 || rowOf(file) > 0)
        .filter((target) => !(rowOf(target) < rowOf(file)))
        .map((target) => `${file} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  it('has no circle of imports, types included', () => {
    expect(circles()).toEqual([])
  })

  it('has one name for each exported type and class', () => {
    const found = new Map<string, string[]>()
    for (const file of files) {
      for (const [, name = ''] of source(file).matchAll(
        /^export (?:abstract )?(?:type|interface|class) (\w+)/gm,
      )) {
        found.set(name, [...(found.get(name) ?? []), file])
      }
    }
    expect([...found].filter(([, places]) => places.length > 1)).toEqual([])
  })

  it('keeps Node out of the protocol, so that browsers and devices share it', () => {
    const wrong = files
      .filter((file) => placeOf(file) === 'protocol')
      .filter((file) =>
        importsOf(file).some((name) => name.startsWith('node:') || name.endsWith('/secrets.ts')),
      )
    expect(wrong).toEqual([])
  })

  it('lets the console import the protocol, and types of the kernel, and nothing else of the bridge', () => {
    const CONSOLE = resolve(SRC, '../console/src')
    const wrong = readdirSync(CONSOLE, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.tsx?$/.test(name))
      .flatMap((file) =>
        [
          ...readFileSync(join(CONSOLE, file), 'utf8').matchAll(
            /^import (type )?[^'"]*from '([^']+\/src\/[^']+)'/gm,
          ),
        ]
          .map(([, type, name = '']) => ({
            type,
            target: relative(SRC, resolve(CONSOLE, dirname(file), name)),
          }))
          .filter(
            ({ type, target }) => !target.startsWith('protocol/') && !(type && target.startsWith('kernel/')),
          )
          .map(({ target }) => `${file} imports ${target}`),
      )
    expect(wrong).toEqual([])
  })

  it.each([
    ['aedes', 'broker'],
    ['better-sqlite3', 'store'],
    ['fastify', 'http'],
    ['commander', 'cli'],
    ['@modelcontextprotocol/core', 'mcp'],
    ['@modelcontextprotocol/server', 'mcp'],
  ])('keeps %s in %s', (library, place) => {
    const users = files.filter((file) =>
      importsOf(file).some(
        (name) => name === library || name.startsWith(`${library}-`) || name.startsWith(`${library}/`),
      ),
    )
    expect([...new Set(users.map(placeOf))].filter((user) => user !== place)).toEqual([])
  })

  it.each([
    ['makes MQTT clients', 'client/mqtt-link.ts', /^import (?!type\b).*'mqtt'|import\('mqtt'\)/m],
    [
      'decides in which form the command line answers',
      'cli/terminal/output.ts',
      /[.]json\b(?! *[:(])|printJson|writeJson/,
    ],
  ])('%s in %s alone', (_, home, users) => {
    const inside = files.filter((file) => placeOf(file) === placeOf(home) || home.startsWith('client'))
    expect(inside.filter((file) => users.test(source(file)))).toEqual([home])
  })

  it('has null only for what a stored row or the wire says: what an object keeps for itself is undefined until it is there', () => {
    const field = /^\s+(?:readonly )?#\w+\??: .*\bnull(?: =.*)?$/m
    const compared = /\bthis\.#\w+ (?:[!=]=)?= null\b/
    const wrong = files.filter((file) => field.test(source(file)) || compared.test(source(file)))
    expect(wrong).toEqual([])
  })

  it('says null in a type only where a stored row, JSON, the configuration or a foreign library does', () => {
    const type = /[|] null\b/
    // Each with what says it there.
    const may = [
      /^store\//, // rows
      /^domain\/(?:records|invocations|policy|descriptions|pairing)\.ts$/, // rows
      /^bridge\/(?:ports|mqtt-store|webhook-ports|audit)\.ts$/, // a row that is not there, and columns
      /^bridge\/(?:access\/policies|pairing\/answers|invocation\/waits)\.ts$/, // rows
      /^bridge\/verbs\/(?:bridge|node-description)\.ts$/, // JSON of answers and of arguments
      /^bridge\/webhooks\/notices\.ts$/, // the configuration
      /^broker\/persistence\//, // rows, Aedes
      /^broker\/(?:aedes-(?:events|internals)|connect-handler|guarded-persistence|inbound-path|shared-subscriptions)\.ts$/, // Aedes
      /^broker\/(?:limits|subscription-limit)\.ts$/, // the configuration
      /^protocol\/(?:descriptions|presence)\.ts$/, // JSON, rows
      /^host\/(?:config\/|doctor\/doctor|tls\/certificate-files)/, // the configuration
      /^http\/(?:hosts|doors|server|limb-client\/client|outbound\/trust|mcp\/routes)\.ts$/, // the configuration
      /^http\/console\/console\.ts$/, // JSON
      /^http\/(?:unread-answers|websocket-stream)\.ts$/, // Fastify, Node
      /^homeassistant\/(?:units|device-classes|home-assistant)\.ts$/, // Home Assistant's word for no unit; JSON
      /^kernel\/proxy-door\.ts$/, // Node
      /^client\/browser\//, // Node, as browsers have it
      /^cli\/(?:command-line|mcp\/stdin-messages|terminal\/sentences)\.ts$/, // Commander, JSON
      /^adapters\/home-assistant\/templates\.ts$/, // regular expressions
    ]
    const said = files.filter((file) => type.test(source(file)))
    expect(said.filter((file) => !may.some((place) => place.test(file)))).toEqual([])
    // A place that does not need it any more.
    expect(may.filter((place) => !said.some((file) => place.test(file)))).toEqual([])
  })

  it('reads a clock in kernel/clock.ts alone', () => {
    const clock = /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b/
    expect(files.filter((file) => file !== 'kernel/clock.ts' && clock.test(source(file)))).toEqual([])
  })

  it('spells topics in protocol/topics.ts alone', () => {
    const topic = /['"`](?:limb\/|[^'"`\n]*\/(?:bridge|node|principal)\/)/
    const spelled = files.filter(
      (file) =>
        file !== 'protocol/topics.ts' &&
        !file.startsWith('cli/') &&
        source(file)
          .split('\n')
          .some((line) => !/^\s*(?:\*|\/\/|\/\*)/.test(line) && !/from '/.test(line) && topic.test(line)),
    )
    expect(spelled).toEqual([])
  })
})
