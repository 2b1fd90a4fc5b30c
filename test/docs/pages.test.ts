import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { outdated } from '../../scripts/docs.ts'
import { ERROR_CODES } from '../../src/kernel/errors.ts'
import { LEVELS, REASONS, ROLES, STATUSES } from '../../src/protocol/names.ts'
import { VERBS } from '../../src/protocol/verbs.ts'

const ROOT = resolve(import.meta.dirname, '../..')

function markdownIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name))
}
const pages = [
  ...markdownIn('.'),
  ...markdownIn('docs'),
  ...markdownIn('docs/protocol'),
  ...markdownIn('docs/decisions'),
  ...markdownIn('docs/devices'),
]
const textOf = (page: string) => readFileSync(join(ROOT, page), 'utf8')
/** Without code, whose brackets are no links. */
const proseOf = (page: string) =>
  textOf(page)
    .replace(/```[\s\S]*?```/g, '')
    .replace(/`[^`\n]*`/g, '')

/** GitHub's anchor of a heading. */
function anchorsOf(page: string): Set<string> {
  const headings = textOf(page)
    .replace(/```[\s\S]*?```/g, '')
    .matchAll(/^#{1,6} +(.+)$/gm)
  return new Set(
    [...headings].map(([, text = '']) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .trim()
        .replaceAll(' ', '-'),
    ),
  )
}

function brokenLinks(page: string): string[] {
  const links = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '')
  return links.filter((link) => {
    if (/^(https?:|mailto:)/.test(link)) return false
    const [path = '', anchor] = link.split('#')
    const target = path === '' ? page : join(dirname(page), path)
    if (!existsSync(join(ROOT, target))) return true
    return anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).has(anchor)
  })
}

describe('the documents', () => {
  it.each(pages)('%s links only to what is there', (page) => {
    expect(brokenLinks(page)).toEqual([])
  })

  // While the name is free there, whoever takes it would run on our readers' machines.
  it('send nobody to the npm registry for this package', () => {
    const texts = [...pages.map(textOf), textOf('examples/typescript/camera.ts')]
    for (const text of texts) {
      expect(text).not.toMatch(
        /npx -y limb-bridge|"-y",\s*"limb-bridge"|npm (install|i) (-g )?limb-bridge(?![-\w.])/,
      )
    }
  })

  it('made from the code are up to date; `npm run docs` writes them', () => {
    expect(outdated()).toEqual([])
  })

  it('name only settings that exist', () => {
    const sections = parse(textOf('config/limb-bridge.yaml')) as Record<string, Record<string, unknown>>
    const settings = new Set(
      Object.entries(sections).flatMap(([section, keys]) =>
        Object.keys(keys).map((key) => `${section}.${key}`),
      ),
    )
    // Rows of the audit log are named alike: `lease.granted`.
    const bridge = join(ROOT, 'src/bridge')
    const auditKinds = new Set(
      readdirSync(bridge, { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts'))
        .flatMap((name) =>
          [...readFileSync(join(bridge, name), 'utf8').matchAll(/'([a-z]+\.[a-z_]+)'/g)].map(
            (match) => match[1],
          ),
        ),
    )
    const pattern = new RegExp(`\`((?:${Object.keys(sections).join('|')})\\.[a-z][A-Za-z]*)\\b`, 'g')
    const unknown = pages.flatMap((page) =>
      [...textOf(page).matchAll(pattern)]
        .map((match) => match[1] ?? '')
        .filter((key) => !settings.has(key) && !auditKinds.has(key) && key !== 'control.sock')
        .map((key) => `${page}: ${key}`),
    )
    expect(settings.size).toBeGreaterThan(30)
    expect(unknown).toEqual([])
  })

  it('name only environment variables that exist', () => {
    const known = new Set(textOf('docs/configuration.md').match(/\bLIMB_[A-Z_]+\b/g))
    const unknown = pages.flatMap((page) =>
      (textOf(page).match(/\bLIMB_[A-Z_]+\b/g) ?? []).filter((name) => !known.has(name)),
    )
    expect(unknown).toEqual([])
  })

  it('tell of no place that only the makers have', () => {
    const told = pages.filter((page) => /\/work\/|\/root\/|\/tmp\/bash|registry\.npm/.test(textOf(page)))
    expect(told).toEqual([])
  })
})

describe('docs/architecture.md', () => {
  const page = textOf('docs/architecture.md')

  it('shows the rows as they are', () => {
    const places = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).map((entry) =>
      entry.isDirectory() ? `${entry.name}/` : entry.name,
    )
    const shown = [...page.matchAll(/^\| \d \| `([\w./-]+)` \|/gm)].map((match) => match[1])
    expect(shown.sort()).toEqual(places.sort())
  })

  it('names only files that are there', () => {
    const named = [...page.matchAll(/`((?:\w+\/)+[\w-]+\.ts)`/g)].map((match) => match[1] ?? '')
    const missing = named.filter(
      (path) => !existsSync(join(ROOT, 'src', path)) && !existsSync(join(ROOT, path)),
    )
    expect(named.length).toBeGreaterThan(8)
    expect(missing).toEqual([])
  })
})

describe('the ways of docs/architecture.md', () => {
  const page = textOf('docs/architecture.md')
  const rows = new Map(
    [...page.matchAll(/^\| (\d) \| `([\w.]+)\/?` \|/gm)].map((match) => [match[2] ?? '', Number(match[1])]),
  )
  const ways = page.split(/^## /m).filter((text) => /way\b/.test(text.split('\n')[0] ?? ''))
  const steps = ways.flatMap((way) =>
    [...way.matchAll(/^\d\. [\s\S]*?(?=\n\d\. |\n\n|$)/gm)].map(([step]) => step),
  )
  const filesOf = (step: string) =>
    [...step.matchAll(/`((?:[\w-]+\/)+[\w-]+\.ts)`/g)].map((match) => match[1] ?? '')

  it('name files that are there', () => {
    const named = steps.flatMap(filesOf)
    expect(named.length).toBeGreaterThan(12)
    expect(named.filter((file) => !existsSync(join(ROOT, 'src', file)))).toEqual([])
  })

  it('go within a step from the outer row to the inner', () => {
    const rowOf = (file: string) => rows.get(file.split('/')[0] ?? '') ?? Number.NaN
    const wrong = steps.filter((step) => {
      const numbers = filesOf(step).map(rowOf)
      return numbers.some((row, i) => i > 0 && !(row <= (numbers[i - 1] ?? 0)))
    })
    expect(wrong).toEqual([])
  })

  it('stand beside a table of all rooms that are there, and of no other', () => {
    const rooms = [...page.matchAll(/^\| ((?:`[\w-]+\/[\w/-]+\/`(?:, )?)+) \|/gm)]
      .flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)])
      .map((match) => match[1] ?? '')
    expect(rooms.filter((room) => !existsSync(join(ROOT, 'src', room)))).toEqual([])
    // And every room is in the table: a folder in a folder of src.
    const folders = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `${relative(join(ROOT, 'src'), join(entry.parentPath, entry.name))}/`)
      .filter((folder) => folder.split('/').length > 2)
    expect(folders.filter((folder) => !rooms.includes(folder))).toEqual([])
  })
})

describe('docs/glossary.md', () => {
  const entries = [
    ...textOf('docs/glossary.md').matchAll(/^\| ([^|]+) \| [^|]+ \| `(\w+)` in `([\w./-]+)` \|$/gm),
  ]

  it('names for each word the type that stands for it', () => {
    expect(entries.length).toBeGreaterThanOrEqual(40)
    const missing = entries.filter(([, , type = '', file = '']) => {
      const path = join(ROOT, 'src', file)
      const exported = new RegExp(
        `^export (?:abstract )?(?:interface|class|type|const|function) ${type}\\b`,
        'm',
      )
      return !existsSync(path) || !exported.test(readFileSync(path, 'utf8'))
    })
    expect(missing.map(([line]) => line)).toEqual([])
  })

  it('has each word once', () => {
    const words = entries.flatMap(([, cell = '']) => cell.split(', '))
    expect(words.filter((word, i) => words.indexOf(word) !== i)).toEqual([])
  })
})

describe('the protocol', () => {
  const index = textOf('docs/protocol.md')
  const limbs = textOf('docs/protocol/limbs.md')
  const dashboards = textOf('docs/protocol/dashboards.md')
  const reference = textOf('docs/protocol/reference.md')
  /** The text under a heading of the second level. */
  const section = (page: string, heading: string) => {
    const start = page.indexOf(`\n## ${heading}\n`)
    const end = page.indexOf('\n## ', start + 1)
    return start < 0 ? '' : page.slice(start, end < 0 ? undefined : end)
  }

  it('keeps the numbers of its sections on docs/protocol.md, because others refer to them', () => {
    const headings = [...index.matchAll(/^## (\d+)\. (.+)$/gm)].map((match) => `${match[1]} ${match[2]}`)
    expect(headings).toEqual([
      '1 Names',
      '2 Topics',
      '3 Sessions and rights',
      '4 Pairing',
      '5 Presence',
      '6 `state`',
      '7 Access policy, leases, invocations',
      '8 Verbs',
      '9 Configuration',
      '10 Events',
      '11 Limits',
    ])
  })

  it('leads from each section of docs/protocol.md to where it stands', () => {
    const sections = index.split(/^## /m).slice(1)
    expect(sections.filter((text) => !/\]\(protocol\/\w+\.md#/.test(text))).toEqual([])
  })

  it('tells a maker of limbs the whole way on the first forty lines of a page', () => {
    const short = section(limbs, 'The short version')
    expect(short.split('\n').length).toBeLessThan(40)
    for (const topic of ['register', 'pairing', 'heartbeat', 'invoke', 'result'])
      expect(short).toContain(topic)
  })

  it('lists exactly the error codes of the code', () => {
    const listed = [...section(reference, 'Errors').matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1])
    expect(listed).toEqual(Object.keys(ERROR_CODES))
  })

  it('lists exactly the verbs of the code', () => {
    const rows = section(reference, 'Verbs').matchAll(
      /^\| `([\w/-]+)` \| (?:viewer|agent|operator|admin) \|/gm,
    )
    expect([...rows].map((match) => match[1])).toEqual(Object.keys(VERBS))
  })

  it('says beside LIMB_MQTT_HOST what listening beyond loopback needs', () => {
    expect(section(reference, 'Configuration').replace(/\s+/g, ' ')).toMatch(
      /`mqtt\.allowPlaintext: true` in the file: `LIMB_MQTT_HOST=0\.0\.0\.0` alone/,
    )
  })

  it('names every reason, status, role and level', () => {
    for (const reason of REASONS) expect(section(limbs, 'Presence'), reason).toContain(`\`${reason}\``)
    for (const status of STATUSES) expect(section(reference, 'Topics'), status).toContain(`\`${status}\``)
    for (const role of ROLES) expect(section(reference, 'Sessions and rights'), role).toContain(`| ${role} |`)
    for (const level of LEVELS) expect(section(dashboards, 'Policies'), level).toContain(`\`${level}\``)
  })
})
