import { LIMITS } from '../../src/protocol/limits.ts'
import { connectControl } from '../support/control-client.ts'

/** The fleet of the benchmark: names and keys follow from a number, so that no process has to tell another. */

export interface Range {
  readonly from: number
  readonly count: number
}

export function limbName(number: number): { name: string; key: string } {
  const digits = String(number).padStart(7, '0')
  return { name: `limb-${digits}`, key: `a-key-of-the-benchmark-${digits}` }
}

/** What a camera with a speaker says of itself: some 330 bytes. */
export function registration(number: number): object {
  return {
    displayName: `Limb ${number}`,
    platform: 'esp32',
    firmware: '1.2.0',
    capabilities: [
      { cap: 'camera', commands: ['camera.snap', 'camera.clip'], authLevel: 'leased' },
      { cap: 'speaker', commands: ['speaker.say'], authLevel: 'free' },
    ],
  }
}

/** Approved limbs, without any of them ever connecting. */
export async function importFleet(controlSocket: string, { from, count }: Range): Promise<void> {
  const control = await connectControl(controlSocket)
  for (let at = from; at < from + count; at += LIMITS.importNodes) {
    const size = Math.min(LIMITS.importNodes, from + count - at)
    const nodes = Array.from({ length: size }, (_, i) => {
      const { name, key } = limbName(at + i)
      return { nodeId: name, apiKey: key, ...registration(at + i), firmware: undefined }
    })
    await control.do('node/import', { nodes })
  }
  control.client.end()
}
