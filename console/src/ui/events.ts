import { known } from '../i18n/index.ts'
import type { FleetEvent } from '../live/fleet.ts'

/** What an event is about, in a line: the names and words that stand in it. Text, never markup. */
export function eventText({ fields }: Pick<FleetEvent, 'fields'>): string {
  const { nodeId, name, principal, command, status, reason, by, capability, request, approval, address } =
    fields
  const inner = (value: unknown, key: string) =>
    typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
  const words = [
    nodeId ?? inner(request, 'nodeId') ?? inner(approval, 'nodeId'),
    name,
    principal ?? inner(approval, 'principal'),
    command ?? inner(approval, 'command') ?? capability,
    typeof status === 'string' ? (known(`status.${status}`) ?? status) : undefined,
    typeof status === 'string' && typeof reason === 'string'
      ? (known(`reason.${status}.${reason}`) ?? known(`reason.${reason}`) ?? reason)
      : reason,
    address,
    by,
  ]
  return words.filter((word) => typeof word === 'string' && word !== '').join(' · ')
}
