import { type Leaf, SECTIONS, type Section } from './leaves.ts'
import { yamlValue } from './show.ts'

/** `config/limb-bridge.yaml` and `docs/configuration.md`, made from the schema. */

const WIDTH = 100

function wrapped(text: string, prefix: string): string[] {
  const lines: string[] = []
  let line = prefix
  for (const word of text.split(/\s+/)) {
    if (line.length + word.length + 1 > WIDTH && line !== prefix) {
      lines.push(line)
      line = prefix
    }
    line += ` ${word}`
  }
  lines.push(line)
  return lines
}

function sentence(text: string): string {
  return text === '' ? '' : `${text[0]?.toUpperCase()}${text.slice(1)}`
}

function yamlLeaf(leaf: Leaf): string[] {
  const preset = leaf.defaultText === undefined ? '' : ` Default: ${leaf.defaultText}.`
  const env = leaf.env === undefined ? '' : ` Environment: ${leaf.env}.`
  const comment = `${leaf.description}${preset} Allowed: ${leaf.allowed}.${env}`.replaceAll('`', '')
  return [...wrapped(comment, '  #'), `  ${leaf.key}: ${yamlValue(leaf.default)}`]
}

function yamlSection(section: Section): string[] {
  if (section.list) {
    const text = `${section.description} Allowed: ${section.list.allowed}.`.replaceAll('`', '')
    return ['', ...wrapped(text, '#'), `${section.key}: ${yamlValue(section.list.default)}`]
  }
  return [
    '',
    ...wrapped(section.description, '#'),
    `${section.key}:`,
    ...section.leaves.flatMap((leaf, i) => (i === 0 ? yamlLeaf(leaf) : ['', ...yamlLeaf(leaf)])),
  ]
}

export function configYaml(): string {
  return `${[
    '# Limb Bridge: every setting with its default. Remove what you do not change: a key that is absent has',
    '# its default. `limb-bridge config check FILE` checks a file, `limb-bridge config show` shows what holds.',
    '# Made from src/host/config/schema.ts by `npm run docs`.',
    ...SECTIONS.flatMap(yamlSection),
  ].join('\n')}\n`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replace(/\s+/g, ' ')
}

function row(leaf: Leaf): string {
  const preset = leaf.defaultText ?? `\`${yamlValue(leaf.default)}\``
  const env = leaf.env === undefined ? '' : ` Environment: \`${leaf.env}\`.`
  const secret = leaf.secret ? ' Secret: never shown or logged.' : ''
  return `| \`${leaf.key}\` | ${cell(preset)} | ${cell(leaf.allowed)} | ${cell(leaf.description + secret + env)} |`
}

function markdownSection(section: Section): string[] {
  return [
    `## ${section.key}`,
    '',
    sentence(section.description),
    ...(section.list ? ['', 'A list, empty by default. The keys of each entry:'] : []),
    '',
    '| key | default | allowed | meaning |',
    '| --- | --- | --- | --- |',
    ...(section.list?.item ?? section.leaves).map(row),
    '',
  ]
}

function environmentTable(): string[] {
  const rows = SECTIONS.flatMap((section) =>
    section.leaves.flatMap((leaf) =>
      leaf.env === undefined ? [] : [`| \`${leaf.env}\` | \`${leaf.path}\` |`],
    ),
  )
  return [
    '## Environment',
    '',
    'A variable wins over the file, whose own value is checked all the same. An empty one counts as not set; an unknown',
    '`LIMB_…` variable is a warning.',
    '',
    '| variable | sets |',
    '| --- | --- |',
    '| `LIMB_CONFIG` | which file is read, unless `--config` names one |',
    ...rows,
    '| `LIMB_URL` | the bridge of the command line, as `--url`, such as `mqtts://ann@bridge.lan`; `--socket` and `--url` win |',
    '| `LIMB_PASSWORD` | the password of the command line with `--url … --user …` |',
    '',
  ]
}

export function configMarkdown(): string {
  return [
    '# Configuration',
    '',
    '<!-- Made from src/host/config/schema.ts by `npm run docs`; edits here are lost. -->',
    '',
    'One YAML file, named with `--config FILE` or `LIMB_CONFIG`. Without one the defaults below hold.',
    '[config/limb-bridge.yaml](../config/limb-bridge.yaml) has every key with its default. An unknown key or a bad',
    'value stops the start and says where it stands and what is allowed.',
    '',
    '- `limb-bridge config check FILE` (or `--config FILE`) checks a file without starting anything.',
    '- `limb-bridge config show` prints what holds, and where each value comes from. Secrets are hidden.',
    '- Relative paths start at the working directory. Durations carry their unit in the key.',
    '',
    ...environmentTable(),
    ...SECTIONS.flatMap(markdownSection),
  ].join('\n')
}
