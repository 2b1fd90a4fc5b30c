import type { AuditEntry } from '../domain/records.ts'
import type { AuditKind } from '../protocol/audit-kinds.ts'
import type { BridgeContext } from './settings.ts'

/** The parts of an audit row that a use case knows. */
export interface AuditFields {
  readonly actor: string
  readonly nodeId?: string | undefined
  /** `stored` unless it says otherwise. */
  readonly outcome?: string
  readonly detail?: Record<string, unknown>
}

/** Makes the audit row of a decision of this moment. */
export function audit(
  { clock }: Pick<BridgeContext, 'clock'>,
  kind: AuditKind,
  { actor, nodeId, outcome = 'stored', detail = {} }: AuditFields,
): AuditEntry {
  return { at: clock.wallMs(), actor, kind, nodeId: nodeId ?? null, outcome, detail }
}
