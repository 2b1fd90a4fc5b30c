/** Every kind of row that the audit log can have; a test holds them and the code together. */
export const AUDIT_KINDS = [
  'audit.pruned',
  'audit.triggers_restored',
  'backup.created',
  'invocation.approved',
  'invocation.denied',
  'invocation.ended',
  'invocation.late',
  'invocation.queued',
  'invocation.refused',
  'invocation.started',
  'invocation.waiting',
  'lease.ended',
  'lease.granted',
  'lease.refused',
  'lease.released',
  'lease.renewed',
  'node.described',
  'node.key_rotated',
  'node.key_taken',
  'node.provisioned',
  'node.renamed',
  'node.revoked',
  'node.set',
  'node.updated',
  'pairing.approved',
  'pairing.expired',
  'pairing.forgiven',
  'pairing.rejected',
  'pairing.requested',
  'pairing.window_closed',
  'pairing.window_opened',
  'policy.deleted',
  'policy.set',
  'principal.added',
  'principal.password_set',
  'principal.removed',
  'principal.role_set',
  'request.refused',
  'session.forgotten',
  'signin.refused',
  'token.added',
  'token.removed',
] as const

export type AuditKind = (typeof AUDIT_KINDS)[number]

/** Returns whether a filter can match: one kind, or the beginning of some, up to a dot. */
export function matchesAuditKind(filter: string): boolean {
  return AUDIT_KINDS.some((kind) => (filter.endsWith('.') ? kind.startsWith(filter) : kind === filter))
}

/** Says what to write instead of a filter that matches nothing. */
export function auditKindHint(filter: string): string {
  const family = `${filter}.`
  if (matchesAuditKind(family)) return `write "${family}" for all that begin so`
  const [prefix = ''] = filter.split('.')
  const near = AUDIT_KINDS.filter((kind) => kind.startsWith(`${prefix}.`))
  if (near.length > 0) return `there are ${near.join(', ')}`
  const families = new Set(AUDIT_KINDS.map((kind) => `${kind.split('.')[0]}.`))
  return `they begin with ${[...families].join(', ')}`
}
