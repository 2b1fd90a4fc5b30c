import { iso } from '../../kernel/clock.ts'
import type { Announcer } from '../live/announcer.ts'
import type { BackupFile } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import { backUp } from '../upkeep/backups.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

/** Makes the verbs about copies of the database. */
export function backupHandlers(
  context: BridgeContext,
  announcer: Pick<Announcer, 'event'>,
): VerbHandlersOf<'backup'> {
  return {
    async 'backup/list'() {
      return { items: (await context.backups.list()).map(shown) }
    },

    async 'backup/create'(_args, caller) {
      return shown(await backUp(context, announcer, caller.name))
    },
  }
}

function shown({ file, bytes, takenAt }: BackupFile) {
  return { file, bytes, takenAt: iso(takenAt) }
}
