import type { MqttStore } from '../bridge/mqtt-store.ts'
import type { Backups, Log, Upkeep } from '../bridge/ports.ts'
import type { MqttPersistence } from '../broker/persistence/persistence.ts'
import { messageOf } from '../kernel/errors.ts'
import type { Topics } from '../protocol/topics.ts'

/** Does what the bridge's chores do to retained data and to sessions. */

export function dataUpkeep(mqttStore: MqttStore, topics: Topics): Pick<Upkeep, 'nextWithData'> {
  return {
    async nextWithData(after) {
      // Behind every topic of that limb: 0 is the character after the slash.
      const last = after === '' ? '' : `${topics.nodePrefix}${after}0`
      const [topic] = await mqttStore.retainedTopics(topics.nodePrefix, last, 1)
      return topic?.slice(topics.nodePrefix.length).split('/')[0]
    },
  }
}

/** A backup of what only this process still holds: its files were removed under it. */
export async function rescue(backups: Backups, log: Log): Promise<void> {
  try {
    const { file } = await backups.create()
    log.error(
      { file },
      `what the database held is saved as ${file}: stop the bridge, run \`limb-bridge restore ${file}\`, and start it`,
    )
  } catch (error) {
    log.error({ error: messageOf(error) }, `what the database held could not be saved: ${messageOf(error)}`)
  }
}

export async function sweepSessions(persistence: MqttPersistence, expirySeconds: number): Promise<number> {
  await persistence.sweepRetained()
  return (await persistence.sessions.sweep(expirySeconds * 1000)).length
}
