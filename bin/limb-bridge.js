#!/usr/bin/env node
/**
 * Starts the bridge: in a work tree `src/main.ts`, which a Node that strips types (22.18 or newer) runs as it is, so
 * that a build from last week is never what runs; in a package, which has no sources, the built `dist/main.js`. An
 * older Node hands over to the one in node_modules. Plain JavaScript of a kind that old Nodes can read, so that they
 * fail with a sentence and not with a syntax error.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

// Before anything else is loaded: SIGUSR1 would open Node's debugger on a port for everybody on the machine, and SIGUSR2
// would end the process.
for (const signal of ['SIGUSR1', 'SIGUSR2']) process.on(signal, () => undefined)

// Not in the older Nodes that hand over.
const { enableCompileCache } = nodeModule
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const main = [join(root, 'src/main.ts'), join(root, 'dist/main.js')].find((path) => existsSync(path))

function isNewEnough(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 18)
}

function fail(message) {
  process.stderr.write(`limb-bridge: ${message}\n`)
  process.exit(70)
}

/** Set for the Node that is handed over to. It asks for its end when the channel to this process closes. */
const HANDED_OVER = 'LIMB_HANDED_OVER'

/** Runs as if that Node had been started in the first place: same streams, signals and end. */
function handOver(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    // What is freed goes back to the system, as in systemd/limb-bridge.service.
    env: {
      MALLOC_TRIM_THRESHOLD_: '131072',
      MALLOC_MMAP_THRESHOLD_: '32768',
      ...process.env,
      [HANDED_OVER]: '1',
    },
  })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) {
    // Ctrl-C goes to both from the terminal; the bridge takes the same signal twice for impatience.
    const fromTerminal = signal === 'SIGINT' && process.stdin.isTTY
    process.on(signal, () => fromTerminal || child.kill(signal))
  }
  child.on('error', (error) => fail(`cannot start ${node}: ${error.message}`))
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

/** Ends with the process that handed over, which `kill -9` gives no time to pass anything on. */
function endWithParent() {
  delete process.env[HANDED_OVER]
  // Undefined: the variable came from somebody else, and there is no channel.
  if (process.connected === undefined) return
  const end = () => process.kill(process.pid, 'SIGTERM')
  if (!process.connected) return end()
  process.on('disconnect', end)
  // To listen must not keep a command alive that has done its work.
  process.channel.unref()
}

if (main === undefined) {
  fail('neither dist/main.js nor src/main.ts is there; install the package anew')
} else if (isNewEnough(process.versions.node)) {
  if (process.env[HANDED_OVER] !== undefined) endWithParent()
  // Parsed once, kept for the next start: a third of the time until the listeners are open.
  if (enableCompileCache) enableCompileCache(join(root, 'node_modules/.cache/limb-bridge'))
  // What comes is an `argv` of [node, main, …], as if main had been named.
  process.argv[1] = main
  await import(pathToFileURL(main).href)
} else if (process.env[HANDED_OVER] !== undefined) {
  fail(`the Node in node_modules is ${process.versions.node}; run \`npm ci\` for one that is 22.18 or newer`)
} else {
  const node = [join(root, 'node_modules/node/bin/node'), join(root, 'node_modules/.bin/node')].find((path) =>
    existsSync(path),
  )
  if (node === undefined) fail(`needs Node 22.18 or newer; this is ${process.versions.node}`)
  else handOver(node)
}
