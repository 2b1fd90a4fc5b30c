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
  'pairing.withdrawn',
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

/**
 * The three logs that the audit log consists of; each has a retention of its own, so that none pushes another out.
 * `decisions`: what people who may decide have decided. `activity`: what limbs and principals do within their rights.
 * `attempts`: what was refused, and what somebody asked for who has no secret.
 */
export const AUDIT_LOGS = ['decisions', 'activity', 'attempts'] as const
export type AuditLog = (typeof AUDIT_LOGS)[number]

const ACTIVITY: readonly AuditKind[] = [
  'invocation.ended',
  'invocation.late',
  'invocation.queued',
  'invocation.started',
  'invocation.waiting',
  'lease.ended',
  'lease.granted',
  'lease.released',
  'lease.renewed',
  'node.key_taken',
  'node.updated',
  'token.added',
  'token.removed',
]

const ATTEMPTS: readonly AuditKind[] = [
  'invocation.refused',
  'lease.refused',
  'pairing.expired',
  'pairing.requested',
  'pairing.withdrawn',
  'request.refused',
  'signin.refused',
]

const LOG_OF: ReadonlyMap<string, AuditLog> = new Map([
  ...ACTIVITY.map((kind) => [kind, 'activity'] as const),
  ...ATTEMPTS.map((kind) => [kind, 'attempts'] as const),
])

/** Names the log that rows of a kind are written to; what is not named here is a decision. */
export function auditLogOf(kind: string): AuditLog {
  return LOG_OF.get(kind) ?? 'decisions'
}

const BEGINNINGS: ReadonlySet<string> = new Set<AuditKind>([
  'invocation.queued',
  'invocation.started',
  'invocation.waiting',
  'lease.granted',
  'lease.renewed',
  'node.updated',
  'pairing.requested',
  'token.added',
])

/** Returns whether rows of a kind record that something begins which a database without room can do without. */
export function isBeginning(kind: string): boolean {
  return BEGINNINGS.has(kind)
}

/** Returns whether rows of a kind record that something was refused. */
export function isRefusal(kind: string): boolean {
  return kind.endsWith('.refused')
}

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
