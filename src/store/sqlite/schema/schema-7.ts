/**
 * Version 7: what lists may be filtered by has an index, so that a question costs by its answer, and not by the rows
 * that it is not about.
 */
export const SCHEMA_QUERY_INDEXES = `
CREATE INDEX audit_by_node_id ON audit (node_id, seq);
DROP INDEX audit_by_node;
CREATE INDEX audit_by_actor ON audit (actor, seq);
CREATE INDEX audit_by_kind ON audit (kind, seq);
CREATE INDEX invocations_by_node_id ON invocations (node_id, seq);
CREATE INDEX invocations_by_principal ON invocations (principal, seq);
CREATE INDEX invocations_by_state ON invocations (state, seq);
`
