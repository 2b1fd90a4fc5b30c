import { iso } from '../../kernel/clock.ts'
import type { BridgeContext } from '../settings.ts'
import { backUp } from '../upkeep/backups.ts'
import type { VerbHandlers } from '../verb-context.ts'

/** Makes the verbs about copies of the database. */
export function backupHandlers(world: BridgeContext): Pick<VerbHandlers, 'backup/create'> {
  return {
    async 'backup/create'(_args, caller) {
      const { file, bytes, takenAt } = await backUp(world, caller.name)
      return { file, bytes, takenAt: iso(takenAt) }
    },
  }
}
