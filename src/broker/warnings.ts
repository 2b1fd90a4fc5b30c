import type { BrokerCounters } from './counters.ts'

/**
 * Says what the broker refused since its start and clients mostly do not show: few look at the codes of SUBACK, so that
 * a dashboard lacks limbs without a word.
 */
export function warningsOf({ limits }: Pick<BrokerCounters, 'limits'>): string[] {
  return [
    ...refused(limits.principal_subscriptions, 'principals', 'mqtt.maxSubscriptionsPerPrincipal'),
    ...refused(limits.subscriptions, 'limbs and candidates', 'mqtt.maxSubscriptionsPerSession'),
  ]
}

function refused(count: number, whose: string, setting: string): string[] {
  if (count === 0) return []
  const what = count === 1 ? 'a subscription' : `${count} subscriptions`
  const were = count === 1 ? 'was' : 'were'
  return [
    `${what} of ${whose} ${were} refused since the start, so that they miss messages; the log names them; raise ${setting}`,
  ]
}
