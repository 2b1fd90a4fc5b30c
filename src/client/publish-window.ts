import type { MqttClient } from 'mqtt'

type Publish = (topic: string, message: string | Buffer, options: object, done: Done) => MqttClient
type Done = (error?: Error, packet?: unknown) => void

/**
 * Keeps the messages of QoS 1 and 2 that are under way within what the other side takes at once (the receive maximum
 * of MQTT 5), which mqtt.js does not look at: one more ends the connection. The others wait for their turn.
 */
export function withinReceiveMaximum(client: MqttClient, receiveMaximum: number): void {
  const publish = client.publish.bind(client) as unknown as Publish
  const waiting: { readonly send: () => void; readonly done: Done }[] = []
  let underWay = 0
  const ended = (done: Done): Done => {
    return (error, packet) => {
      underWay--
      waiting.shift()?.send()
      done(error, packet)
    }
  }
  const limited = (topic: string, message: string | Buffer, options: unknown, callback?: Done) => {
    const given = typeof options === 'object' && options !== null ? (options as { qos?: number }) : {}
    const done = (typeof options === 'function' ? (options as Done) : callback) ?? (() => undefined)
    if ((given.qos ?? 0) === 0) return publish(topic, message, given, done)
    const send = () => {
      underWay++
      publish(topic, message, given, ended(done))
    }
    if (underWay < receiveMaximum) send()
    else waiting.push({ send, done })
    return client
  }
  client.publish = limited as typeof client.publish
  client.on('close', () => {
    for (const { done } of waiting.splice(0)) done(new Error('the connection was closed'))
  })
}
