import type { MqttClient } from 'mqtt'
import type { Clock } from '../kernel/clock.ts'

/** The time that the other side has to acknowledge what is under way. */
const GOODBYE_MS = 1000

/** Ends a connection with DISCONNECT. Resolves within a second, whatever the other side does. */
export function goodbye(client: MqttClient, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(GOODBYE_MS, () => {
      // An end(false) waits for acknowledgements that do not come, and end(true) does nothing meanwhile.
      client.stream.destroy()
      resolve()
    })
    client.end(false, {}, () => {
      cancel()
      resolve()
    })
  })
}
