import { Gauge, Histogram, type Registry } from 'prom-client'
import type { Counters, DurationName } from '../bridge/ports.ts'

/** Leases, invocations that are under way, and how long invocations take. */

export interface ControlReadings {
  /** Leases that are held now. */
  readonly leases?: number
  /** Invocations that have not ended, by state. */
  readonly openInvocations?: Readonly<Record<string, number>>
}

/** Each duration of the core. Buckets in seconds. */
const DURATIONS: Readonly<
  Record<DurationName, { name: string; help: string; label: string; buckets: number[] }>
> = {
  invocation: {
    name: 'limb_invocation_duration_seconds',
    help: 'How long invocations took from request to answer, waits for leases and approvals included, by outcome.',
    label: 'outcome',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
  },
}

export function durations(registry: Registry): Counters['took'] {
  const histograms = new Map<DurationName, Histogram>()
  for (const name of Object.keys(DURATIONS) as DurationName[]) {
    const { label, ...described } = DURATIONS[name]
    histograms.set(name, new Histogram({ ...described, labelNames: [label], registers: [registry] }))
  }
  return (name, outcome, durationMs) => {
    histograms.get(name)?.observe({ [DURATIONS[name].label]: outcome }, durationMs / 1000)
  }
}

export function controlGauges(registry: Registry): (readings: ControlReadings) => void {
  const leases = new Gauge({
    name: 'limb_leases_held',
    help: 'Leases that are held now.',
    registers: [registry],
  })
  const open = new Gauge({
    name: 'limb_invocations_open',
    help: 'Invocations that have not ended, by state; `offline` are those that wait for a limb that is away.',
    labelNames: ['state'],
    registers: [registry],
  })
  return ({ leases: held = 0, openInvocations = {} }) => {
    leases.set(held)
    for (const [state, count] of Object.entries(openInvocations)) open.set({ state }, count)
  }
}
