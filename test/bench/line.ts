/** One line of the benchmark's table. */
export interface Line {
  readonly name: string
  readonly unit: string
  readonly bridge: number
  readonly peer?: { readonly name: string; readonly value: number }
  /** The median of the pairs' ratios, bridge to peer. */
  readonly ratio?: number
  /** The ratio, else the bridge's value, shall be at most this. */
  readonly goal?: number
  /** What else is worth knowing, such as the spread. */
  readonly note?: string
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

export function verdict(line: Line): 'met' | 'missed' | '' {
  if (line.goal === undefined) return ''
  return (line.ratio ?? line.bridge) <= line.goal ? 'met' : 'missed'
}

function number(value: number): string {
  return value >= 1000 ? value.toFixed(0) : value >= 100 ? value.toFixed(1) : value.toPrecision(3)
}

const HEADS = ['line', 'bridge', 'peer', 'ratio', 'goal', '', 'note'] as const

function cells(line: Line): string[] {
  return [
    line.name,
    `${number(line.bridge)} ${line.unit}`,
    line.peer ? `${number(line.peer.value)} ${line.unit}` : '-',
    line.ratio === undefined ? '-' : line.ratio.toFixed(2),
    line.goal === undefined ? '-' : `≤ ${line.goal}${line.ratio === undefined ? ` ${line.unit}` : ''}`,
    verdict(line),
    line.note ?? '',
  ]
}

/** As Markdown, so that it can stand in a page as it is. */
export function table(lines: readonly Line[]): string {
  const rows = [HEADS.map(String), ...lines.map(cells)]
  const widths = HEADS.map((_, column) => Math.max(3, ...rows.map((row) => (row[column] ?? '').length)))
  const shown = rows.map((row) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`)
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [shown[0], rule, ...shown.slice(1)].join('\n')
}
