import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { type BridgeProcess, startBridge } from '../../support/bridge-process.ts'
import { patience } from '../../support/patience.ts'

/** What the service loads: nothing that only another command, or another configuration, has a use for. */

const HOOK = `import { registerHooks } from 'node:module'
registerHooks({ load(url, context, next) { console.error('loads', url); return next(url, context) } })`

let bridge: BridgeProcess | undefined
const folder = mkdtempSync(join(tmpdir(), 'limb-loads-'))

afterEach(async () => {
  await bridge?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('the service loads neither the SDK of MCP nor the MQTT client', {
  timeout: patience(30_000),
}, async () => {
  const loaded = new Set<string>()
  bridge = await startBridge({
    folder,
    nodeArgs: ['--import', `data:text/javascript,${encodeURIComponent(HOOK)}`],
    hear(line) {
      const name = /^loads .*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(line)?.[1]
      if (name) loaded.add(name)
    },
  })
  // Its two outputs come by two pipes: all of both is here when they are closed.
  await bridge.stop()
  // The hook has seen what it uses.
  expect([...loaded]).toContain('aedes')
  expect([...loaded].filter((name) => name === 'mqtt' || name.startsWith('@modelcontextprotocol/'))).toEqual(
    [],
  )
})
