import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { launchBridge, type StartOptions, startBridge } from '../support/bridge-process.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-start-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
})

/** A port of this machine on which somebody else listens. */
async function takenPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** The exit code and the log of a start that fails. */
async function failedStart(settings: StartOptions['settings'], of = folder) {
  const { ready, ended } = launchBridge({ folder: of, ...(settings && { settings }) })
  const { code } = await ended
  const words = await ready.then(
    () => '',
    (error: Error) => error.message,
  )
  const lines = words.split('\n').filter((line) => line.startsWith('{'))
  return { code, lines: lines.map((line) => JSON.parse(line)) }
}

describe('a start that fails for an everyday reason', { timeout: 60_000 }, () => {
  it('says a port or a socket in use once, without a stack, with the key to change', async () => {
    const port = await takenPort()
    const mqtt = await failedStart({ mqtt: { port } })
    expect(mqtt.code).toBe(1)
    expect(mqtt.lines).toEqual([
      {
        level: 'fatal',
        time: expect.any(String),
        msg:
          `cannot start: cannot listen on 127.0.0.1:${port}: another program listens there; ` +
          'stop it, or choose another port or path (mqtt.host, mqtt.port)',
      },
    ])
    const http = await failedStart({ http: { port } })
    expect(http.lines.at(-1)).not.toHaveProperty('err')
    expect(http.lines.at(-1).msg).toMatch(/set http.host and http.port/)
  })

  it('says a database in use and a socket that cannot be made the same way', async () => {
    const running = await startBridge({ folder })
    onTestFinished(() => running.kill())
    const { lines } = await failedStart({})
    expect(lines).toHaveLength(1)
    expect(lines[0]).not.toHaveProperty('err')
    expect(lines[0].msg).toMatch(/in use by another bridge \(process \d+ .*store\.path \(LIMB_DB\)/)
    const store = { path: join(folder, 'other/limb.sqlite') }
    const socket = await failedStart({ store, control: { socket: running.control } })
    expect(socket.lines[0].msg).toMatch(
      /control\.sock: another program listens there; .* \(control\.socket\)$/,
    )
  })
})
