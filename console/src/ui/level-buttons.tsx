import type { JSX } from 'preact'
import { type AuthLevel, LEVELS } from '../../../src/protocol/names.ts'
import { t } from '../i18n/index.ts'

/** The four levels beside each other: one press sets another one. */
export function LevelButtons({
  level,
  label,
  onSet,
  disabled = false,
}: {
  level: string | undefined
  label: string
  onSet: (level: AuthLevel) => unknown
  disabled?: boolean
}): JSX.Element {
  return (
    <div class="levels" role="group" aria-label={label}>
      {LEVELS.map((each) => (
        <button
          key={each}
          type="button"
          class={`level-${each}`}
          aria-pressed={each === level}
          disabled={disabled}
          onClick={() => each !== level && onSet(each)}
        >
          {t(`level.${each}`)}
        </button>
      ))}
    </div>
  )
}
