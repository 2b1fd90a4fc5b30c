import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { newCounters } from '../src/broker/counters.ts'
import { isOpen } from '../src/domain/invocations.ts'
import type { MetricDescription } from '../src/http/describe-metrics.ts'
import { createMetrics } from '../src/http/metrics.ts'
import { INVOCATION_STATES, ROLES } from '../src/protocol/names.ts'

/** docs/metrics.md: the metrics as the code makes them, and the alerts as config/prometheus-alerts.yaml has them. */

export interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly meaning: string; readonly action: string }
}

export function alerts(): readonly Alert[] {
  const file = join(import.meta.dirname, '../config/prometheus-alerts.yaml')
  const { groups } = parse(readFileSync(file, 'utf8')) as { groups: { rules: Alert[] }[] }
  return groups.flatMap(({ rules }) => rules)
}

const zeros = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, 0]))

/** A bridge to which nothing has happened yet shows every value of every label. */
function metrics() {
  return createMetrics({
    version: '',
    collect: () => ({
      broker: { ...newCounters(), strangerBytes: 0, partialBytes: 0, unsentBytes: 0 },
      nodes: { online: 0, busy: 0, degraded: 0, asleep: 0, offline: 0 },
      sessions: zeros(['candidate', 'limb', ...ROLES]),
      openInvocations: zeros(INVOCATION_STATES.filter(isOpen)),
    }),
  })
}

/** Values that are the same everywhere are told; those of one machine are not. */
const UNTOLD = new Set(['version', 'node', 'le', 'space', 'major', 'minor', 'patch', 'type', 'kind'])

function labelValues(text: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const [, name = '', labels = ''] of text.matchAll(/^(\w+)\{([^}]*)\}/gm)) {
    for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      const key = `${name} ${label}`
      found.set(key, (found.get(key) ?? new Set()).add(value))
    }
  }
  return found
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ').trim()
}

function table(
  described: readonly MetricDescription[],
  values: ReadonlyMap<string, ReadonlySet<string>>,
): string {
  const rows = described.map(({ name, type, help, labels }) => {
    const told = labels.map((label) => {
      const known = UNTOLD.has(label) ? [] : [...(values.get(`${name} ${label}`) ?? [])]
      return `\`${label}\`${known.length > 0 ? `: ${known.map((value) => `\`${value}\``).join(', ')}` : ''}`
    })
    const meaning = /[.!?]$/.test(help.trim()) ? help : `${help}.`
    return `| \`${name}\` | ${type} | ${told.join('<br>')} | ${cell(meaning)} |`
  })
  return ['| metric | type | labels | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

function alertSection({ alert, expr, for: during, labels, annotations }: Alert): string {
  return [
    `### ${alert}`,
    '',
    `${labels.severity}${during === undefined ? '' : `, after ${during}`}: \`${expr.replaceAll(/\s+/g, ' ').trim()}\``,
    '',
    `${annotations.meaning.trim()}`,
    '',
    `**What to do:** ${annotations.action.trim()}`,
  ].join('\n')
}

const made = metrics()
const values = labelValues(await made.text())

export function metricsMarkdown(): string {
  const own = (description: MetricDescription) => description.name.startsWith('limb_')
  const described = [...made.describe()].sort((a, b) => (a.name < b.name ? -1 : 1))
  return `# Health, metrics and alerts

<!-- Made from the code and config/prometheus-alerts.yaml by \`npm run docs\`; edits here are lost. -->

The HTTP port (\`http.host\`, \`http.port\`) answers:

| path | says |
| --- | --- |
| \`/healthz\` | 200 as long as the event loop answers: for a supervisor that restarts what hangs. |
| \`/readyz\` | 200 when broker, database and disk can do their work; else 503 with \`reasons\`, each a sentence that begins with \`broker\`, \`database\` or \`disk\`. |
| \`/metrics\` | the metrics below, for Prometheus. With \`http.token\`: \`Authorization: Bearer TOKEN\`. |
| \`/mqtt\` | MQTT to a WebSocket client; 426 to a plain request, which is what a proxy makes of an upgrade that it does not pass on. |

\`\`\`yaml
scrape_configs:
  - job_name: limb-bridge
    static_configs: [{targets: ["127.0.0.1:8083"]}]
    # authorization: {credentials_file: /etc/prometheus/limb-bridge.token}
rule_files: [prometheus-alerts.yaml]
\`\`\`

[config/prometheus-alerts.yaml](../config/prometheus-alerts.yaml) has the alerts,
[config/grafana-dashboard.json](../config/grafana-dashboard.json) a dashboard to import into Grafana. No label has the
name of a limb, a principal, a client or an address: the number of series does not grow with the fleet. Who is
offline, and why, is told by \`limb-bridge node list\` and by MQTT itself.

## Metrics of the bridge

${table(described.filter(own), values)}

## Metrics of the process

As every program that uses prom-client has them.

${table(
  described.filter((description) => !own(description)),
  values,
)}

## Alerts

${alerts().map(alertSection).join('\n\n')}
`
}
