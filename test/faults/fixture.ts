import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IClientOptions } from 'mqtt'
import { onTestFinished } from 'vitest'
import { keyOf, REGISTRATION } from '../support/app.ts'
import { type BridgeProcess, type StartOptions, startBridge } from '../support/bridge-process.ts'
import { connect, type TestClient } from '../support/client.ts'
import { patience } from '../support/patience.ts'

/** A bridge as a child process, and those who use it. */

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'limb-fault-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export async function running(options: StartOptions): Promise<BridgeProcess> {
  const bridge = await startBridge(options)
  onTestFinished(() => bridge.kill())
  return bridge
}

function closedAfter(client: TestClient): TestClient {
  onTestFinished(() => {
    client.mqtt.end(true)
  })
  return client
}

export async function adminOf({ control }: BridgeProcess): Promise<TestClient> {
  return closedAfter(await connect({ socket: control }))
}

export async function limbOf(
  { mqtt }: BridgeProcess,
  nodeId: string,
  more: IClientOptions = {},
): Promise<TestClient> {
  const options = { username: nodeId, password: keyOf(nodeId), ...more }
  return closedAfter(await connect({ port: mqtt.port }, options))
}

/** What a limb is answered that registers. */
export async function register(bridge: BridgeProcess, nodeId: string) {
  const device = await limbOf(bridge, nodeId)
  await device.subscribe(`limb/node/${nodeId}/pairing`)
  await device.publish(`limb/node/${nodeId}/register`, REGISTRATION)
  const { json } = await device.next(`limb/node/${nodeId}/pairing`)
  device.mqtt.end(true)
  return json
}

export async function provision(admin: TestClient, ...nodeIds: string[]): Promise<void> {
  for (const nodeId of nodeIds) {
    await admin.do('admin', 'node/provision', { nodeId, apiKey: keyOf(nodeId) })
  }
}

/** A connection that is kept may be ended by the bridge in the moment in which it is used again. */
const ONCE = { headers: { connection: 'close' } }

export async function readiness({ http }: BridgeProcess): Promise<{ ready: boolean; reasons: string[] }> {
  const response = await fetch(`http://127.0.0.1:${http?.port}/readyz`, ONCE)
  return (await response.json()) as { ready: boolean; reasons: string[] }
}

/** Looks until it holds; the message of a failure says what was seen last. */
export async function until<T>(
  look: () => Promise<T> | T,
  holds: (seen: T) => boolean,
  timeoutMs = patience(15_000),
): Promise<T> {
  const end = performance.now() + timeoutMs
  for (;;) {
    const seen = await look()
    if (holds(seen)) return seen
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms; last: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** One metric without labels. */
export async function metric({ http }: BridgeProcess, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${http?.port}/metrics`, ONCE)).text()
  const value = new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(text)?.[1]
  if (value === undefined) throw new Error(`no metric ${name}`)
  return Number(value)
}

export function linesOf(bridge: BridgeProcess, pattern: RegExp): string[] {
  return bridge.lines.filter((line) => pattern.test(line))
}
