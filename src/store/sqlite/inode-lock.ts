import { spawnSync } from 'node:child_process'
import { closeSync, openSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'

/**
 * A lock on the file itself, whatever name it is opened by: a removed lock file, a hard link, a bind mount or another
 * container lets no second bridge start on the same database. It is flock(2), which nothing else of the bridge uses, and
 * which only who may open the file can take. Beside it stands a socket in Linux' abstract name space, named for device
 * and inode, for a bridge that cannot lock files: where it is taken, that one does not start. Anybody on the machine can
 * take the name, so that it says nothing to a bridge that has the file locked. The kernel takes both back at `kill -9`.
 */

export interface InodeLock {
  release(): void
}

/** The names of the files that this process holds: to open and close such a file once more would drop SQLite's locks on it. */
const held = new Set<string>()

/**
 * Locks a file; null: another process of this machine holds it, or this one by another path. Elsewhere than on Linux
 * there is no lock, and nothing is held. Released after the database is closed: to close any descriptor of a file drops
 * the locks of SQLite on it.
 */
export function lockInode(file: string): InodeLock | null {
  if (process.platform !== 'linux') return { release: () => undefined }
  const { dev, ino } = statSync(file)
  const name = `${dev}-${ino}`
  if (held.has(name)) return null
  const server = listenAs(`\0limb-bridge-database-${name}`)
  const handle = opened(file)
  const lock = handle === undefined ? 'impossible' : lockFile(handle)
  const release = () => {
    held.delete(name)
    if (handle !== undefined) closeSync(handle)
    server?.close()
  }
  if (lock === 'locked' || (lock === 'impossible' && server !== undefined)) {
    held.add(name)
    return { release }
  }
  release()
  return null
}

/** Returns undefined when the name is taken. */
function listenAs(name: string): Server | undefined {
  const server = createServer((socket) => socket.destroy())
  // A name that is taken is told later too; what counts is whether it listens now.
  server.on('error', () => undefined)
  server.listen(name)
  if (!server.listening) return undefined
  server.unref()
  return server
}

/** Returns undefined for a file that cannot be opened: SQLite says why in a moment. */
function opened(file: string): number | undefined {
  try {
    return openSync(file, 'r')
  } catch {
    return undefined
  }
}

/** The exit code of flock when another process has the lock; the one of BusyBox ends so after any other failure too. */
const HELD = 1
const FLOCK_MS = 5000
/** The lock of a bridge that was killed as it took it lives as long as the program that took it: some milliseconds. */
const TRIES = 10
const AGAIN_MS = 50

/** `impossible`: the program is missing, or the file system has no such locks. */
type Outcome = 'locked' | 'held' | 'impossible'

/**
 * Node cannot lock a file. The program of util-linux locks the open file that it is handed, which is this process' own,
 * and ends. A lock that is held is told without a word; a failure has words.
 */
function lockFile(handle: number): Outcome {
  for (let tries = 1; ; tries++) {
    const outcome = tryLock(handle)
    if (outcome !== 'held' || tries === TRIES) return outcome
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, AGAIN_MS)
  }
}

function tryLock(handle: number): Outcome {
  const stdio = ['ignore', 'ignore', 'pipe', handle] as const
  const { status, stderr } = spawnSync('flock', ['-n', '3'], { stdio: [...stdio], timeout: FLOCK_MS })
  if (status === 0) return 'locked'
  return status === HELD && stderr.length === 0 ? 'held' : 'impossible'
}
