import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { onFreePort } from '../support/app.ts'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { Command } from '../support/command.ts'
import { needs } from '../support/needs.ts'
import { patience } from '../support/patience.ts'

needs('mosquitto-clients')

const ROOT = resolve(import.meta.dirname, '../..')

/** The shell blocks of the README between its mark and the end of the chapter. */
function tourBlocks(): string[] {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const chapter = text.slice(text.indexOf('<!-- tour:'), text.indexOf("## The data's way"))
  return [...chapter.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] as string)
}

/** Programs under the names the README uses, aimed at the bridge under test instead of the usual port. */
function shimFolder(folder: string, bridge: BridgeProcess): string {
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  for (const name of ['mosquitto_sub', 'mosquitto_pub', 'mosquitto_rr']) {
    writeFileSync(join(bin, name), `#!/bin/sh\nexec /usr/bin/${name} -p ${bridge.mqtt.port} "$@"\n`, {
      mode: 0o755,
    })
  }
  const launcher = join(ROOT, 'bin/limb-bridge.js')
  const program = `#!/bin/sh\nLIMB_CONTROL_SOCKET='${bridge.control}' exec '${process.execPath}' '${launcher}' "$@"\n`
  writeFileSync(join(folder, 'limb-bridge'), program, { mode: 0o755 })
  return bin
}

describe("the README's tour", () => {
  it(
    'works line by line, over a power cut',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'limb-tour-'))
      let bridge = await startBridge({ folder })
      try {
        const bin = shimFolder(folder, bridge)
        mkdirSync(join(folder, 'data'))
        symlinkSync(join(folder, 'admin-password'), join(folder, 'data/admin-password'))
        expect(existsSync(join(folder, 'admin-password'))).toBe(true)
        const blocks = tourBlocks()
        expect(blocks).toHaveLength(3)
        const shell = (block: string) => {
          const script = `cd '${folder}'\n${block}`
          // Its background jobs (mosquitto_sub, the heartbeats) are its group, and end with it.
          return new Command(
            'stdbuf',
            ['-oL', 'bash', '-c', script],
            { PATH: `${bin}:${process.env.PATH}` },
            true,
          )
        }

        await using first = shell(blocks[0] as string)
        await first.line('limb/bridge/status online')
        expect(JSON.parse(await first.line(/^\{"status":"pending"/))).toMatchObject({
          code: expect.any(String),
        })
        await first.line(/cam1\s+Front camera/)
        await first.line('limb/node/cam1/status offline')
        await first.line('limb/node/cam1/status online')
        await first.line(/cam1\s+Front camera\s+online\s+heartbeat/)

        expect(blocks[1]).toContain('kill -9')
        const settings = { mqtt: { port: bridge.mqtt.port } }
        await bridge.kill()
        bridge = await onFreePort(() => startBridge({ folder, settings }))

        await using second = shell(blocks[2] as string)
        await second.line(/^nodeId:\s+cam1/)
        await second.line(/^displayName:\s+Front camera/)
        await second.line(/^status:\s+online/)
      } finally {
        await bridge.kill()
        rmSync(folder, { recursive: true, force: true })
      }
      // A dozen programs start one after the other, on a machine that may be busy with others.
    },
    patience(120_000),
  )
})
