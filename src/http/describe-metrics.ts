import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** Describes a metric, for the documents. */

export interface MetricDescription {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly labels: readonly string[]
}

/** The slice of prom-client's own objects that its types do not tell. */
interface Inside {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
}

export function describe(registry: Registry): readonly MetricDescription[] {
  const types: ReadonlyArray<[typeof Counter | typeof Gauge | typeof Histogram, string]> = [
    [Counter, 'counter'],
    [Gauge, 'gauge'],
    [Histogram, 'histogram'],
  ]
  return registry.getMetricsAsArray().map((metric) => {
    const { name, help, labelNames } = metric as unknown as Inside
    const type = types.find(([kind]) => metric instanceof kind)?.[1] ?? 'untyped'
    return { name, type, help, labels: labelNames }
  })
}
