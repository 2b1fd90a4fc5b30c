import { iso } from '../../kernel/clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { VerbResult } from '../../protocol/results.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlers } from '../verb-context.ts'

type LogItem = VerbResult<'bridge/log'>['items'][number]

/** Makes the verbs about the machine of the bridge: its checks, and the newest lines of its log. */
export function systemHandlers({
  system,
  backups,
}: BridgeContext): Pick<VerbHandlers, 'bridge/doctor' | 'bridge/log' | 'backup/list'> {
  return {
    async 'bridge/doctor'() {
      return { items: (await system.checks()).map(({ what, level, message }) => ({ what, level, message })) }
    },

    async 'bridge/log'({ nodeId, level, limit }) {
      const least = LOG_LEVELS.indexOf(level ?? 'debug')
      const items = system
        .logLines()
        .map(itemOf)
        .filter((item) => LOG_LEVELS.indexOf(item.level) >= least)
        .filter(({ fields }) => nodeId === undefined || fields.nodeId === nodeId || fields.name === nodeId)
      return { items: items.slice(-(limit ?? LIMITS.listDefault)).reverse() }
    },

    async 'backup/list'() {
      const files = await backups.list()
      return { items: files.map(({ file, bytes, takenAt }) => ({ file, bytes, takenAt: iso(takenAt) })) }
    },
  }
}

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'] as const

function itemOf(line: Readonly<Record<string, unknown>>): LogItem {
  const { time, level, msg, ...fields } = line
  const known = LOG_LEVELS.find((each) => each === level) ?? 'debug'
  return { at: String(time), level: known, message: String(msg), fields }
}
