import type { JSX } from 'preact'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { known, t } from '../i18n/index.ts'
import { href } from '../router.ts'
import { Clock, Json } from './kit.tsx'

export type AuditRow = VerbResult<'audit/list'>['items'][number]

/** Rows of the audit log: who, what, on which limb, when, how it ended; the rest behind a press. */
export function AuditLines({ rows }: { rows: readonly AuditRow[] }): JSX.Element {
  return (
    <ol class="lines audit-lines">
      {rows.map((row) => (
        <li key={row.seq}>
          <details>
            <summary>
              <span class="mono seq">{row.seq}</span>
              <span class="what">
                {known(`audit.${row.kind}`) ?? row.kind}
                {row.nodeId !== undefined && ` · ${row.nodeId}`}
              </span>
              <span class="who">{row.actor}</span>
              <span class={`outcome ${row.outcome}`}>{row.outcome}</span>
              <Clock at={row.at} />
            </summary>
            {row.nodeId !== undefined && (
              <p>
                {t('limb')}: <a href={href('limb', row.nodeId)}>{row.nodeId}</a>
              </p>
            )}
            <Json value={{ kind: row.kind, ...row.detail }} />
            <p class="quiet">
              {t('audit.hash')} <code>{row.hash}</code>
            </p>
          </details>
        </li>
      ))}
    </ol>
  )
}
