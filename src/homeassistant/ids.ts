import { sha256Hex } from '../kernel/secrets.ts'
import type { Topics } from '../protocol/topics.ts'

/**
 * Names of devices and discovery topics. They are made from the topic root (on an uplink: its prefix) and the
 * nodeId alone, so that they survive restarts, renaming and new keys, and that two bridges do not meet.
 */
export class DeviceIds {
  /** The device that is the bridge. No nodeId begins with `_`. */
  readonly bridge: string
  readonly #own: string
  readonly #before: string

  constructor(prefix: string, topics: Topics) {
    this.#own = `${topics.root.replaceAll('/', '_')}_`
    this.#before = `${prefix}/device/`
    this.bridge = `${this.#own}_bridge`
  }

  limb(nodeId: string): string {
    return this.#own + nodeId
  }

  /** Makes the topic of a device's discovery message. */
  topic(device: string): string {
    return `${this.#before}${device}/config`
  }

  /** The device of a discovery topic, if it is one of this bridge. */
  deviceOf(topic: string): string | undefined {
    const start = this.#before + this.#own
    if (!topic.startsWith(start) || !topic.endsWith('/config')) return undefined
    const device = topic.slice(this.#before.length, -'/config'.length)
    return device.includes('/') ? undefined : device
  }

  nodeIdOf(device: string): string {
    return device.slice(this.#own.length)
  }
}

/** A metric may have any name; an id of Home Assistant's is letters, digits, `_`, `.` and `-`. */
export function idOfMetric(name: string): string {
  if (/^[A-Za-z0-9_.-]+$/.test(name)) return name
  const ascii = name.normalize('NFKD').replaceAll(/[^A-Za-z0-9_.-]+/g, '_')
  return `${ascii}_${sha256Hex(name).slice(0, 8)}`
}

/** Makes what Home Assistant shows for `camera.snap` or `battery_percent`. */
export function readable(name: string): string {
  const words = name.replaceAll(/[_.-]+/g, ' ').trim()
  return words === '' ? name : words[0]?.toUpperCase() + words.slice(1)
}

/** Returns what Home Assistant shows for a property or a command: its title, or its name. */
export function nameOf({
  name,
  title,
}: {
  readonly name: string
  readonly title?: string | undefined
}): string {
  return title ?? readable(name)
}
