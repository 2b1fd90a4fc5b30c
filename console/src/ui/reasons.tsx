import type { JSX } from 'preact'
import type { State } from '../../../src/protocol/schemas.ts'
import { known, t } from '../i18n/index.ts'
import { Age } from './kit.tsx'

/** Why a limb has its status, as a sentence. */
export function reasonText({ status, reason }: Pick<State, 'status' | 'reason'>): string {
  return known(`reason.${status}.${reason}`) ?? known(`reason.${reason}`) ?? reason
}

export function Reason({ state }: { state: State }): JSX.Element {
  return (
    <span>
      {reasonText(state)} · <Age at={state.since} />
    </span>
  )
}

/** A limb's name, and its nodeId beside it when they differ. */
export function nameOf(nodeId: string, displayName: string | undefined): string {
  return displayName === undefined || displayName === nodeId ? nodeId : `${displayName} (${nodeId})`
}

export function unknownName(): string {
  return t('limb.unknown')
}
