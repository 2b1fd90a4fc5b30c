import { type CheckResult, ok, problem, warning } from './check-result.ts'
import type { WaitingDeliveries } from './webhooks.ts'

/** The findings about a server of PostgreSQL, as the doctor says them. */

export interface ServerFound {
  readonly version: string
  readonly tls: string | undefined
  /** The version of the bridge's schema; undefined: it is not there yet. */
  readonly schema: number | undefined
  readonly nodes: number
  readonly holder: string | undefined
  readonly waiting: ReadonlyMap<string, WaitingDeliveries>
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
}

/** `found` is a sentence when the server could not be asked. */
export function checkServer(found: ServerFound | string, schema: string): readonly CheckResult[] {
  if (typeof found === 'string') return [problem('database', found)]
  const { version, tls, problems, warnings, holder, nodes } = found
  const link = tls === undefined ? 'without TLS' : tls
  const what =
    found.schema === undefined
      ? `the schema ${schema} is not there yet; the first start makes it`
      : `schema ${schema} of version ${found.schema}, ${nodes} limbs`
  return [
    ...problems.map((text) => problem('database', text)),
    ...warnings.map((text) => warning('database', text)),
    ...(problems.length === 0 ? [ok('database', `PostgreSQL ${version}, ${link}: ${what}`)] : []),
    ok('bridge', holder === undefined ? 'no bridge runs on this database' : `a bridge runs (${holder})`),
    ok('backup', 'they are made on the server, by whoever runs it; the bridge makes none'),
  ]
}
