import { spawnSync } from 'node:child_process'
import { closeSync, openSync, statSync } from 'node:fs'
import { createServer } from 'node:net'

/**
 * A lock on the file itself, whatever name it is opened by: a removed lock file, a hard link or a bind mount of the
 * same database lets no second bridge start. It is twofold. A socket in Linux' abstract name space, named for device
 * and inode, has no file that could be removed. Each network name space has sockets of its own, and so has each
 * container: there the file is locked, by flock(2), which nothing else of the bridge uses. The kernel takes both back
 * at `kill -9`.
 */

export interface InodeLock {
  release(): void
}

/**
 * Locks a file; null: another process of this machine holds it. Elsewhere than on Linux there is no lock, and nothing
 * is held. Released after the database is closed: to close any descriptor of a file drops the locks of SQLite on it.
 */
export function lockInode(file: string): InodeLock | null {
  if (process.platform !== 'linux') return { release: () => undefined }
  const { dev, ino } = statSync(file)
  const server = createServer((socket) => socket.destroy())
  // A name that is taken is told later too; what counts is whether it listens now.
  server.on('error', () => undefined)
  server.listen(`\0limb-bridge-database-${dev}-${ino}`)
  if (!server.listening) return null
  server.unref()
  const handle = opened(file)
  const release = () => {
    if (handle !== undefined) closeSync(handle)
    server.close()
  }
  if (handle === undefined || !isLockedElsewhere(handle)) return { release }
  release()
  return null
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

/**
 * Node cannot lock a file. The program of util-linux locks the open file that it is handed, which is this process' own,
 * and ends. Where it is missing, or the file system has no such locks, the socket alone is the lock. A lock that is held
 * is told without a word; a failure has words.
 */
function isLockedElsewhere(handle: number): boolean {
  for (let tries = 1; isHeld(handle); tries++) {
    if (tries === TRIES) return true
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, AGAIN_MS)
  }
  return false
}

function isHeld(handle: number): boolean {
  const stdio = ['ignore', 'ignore', 'pipe', handle] as const
  const { status, stderr } = spawnSync('flock', ['-n', '3'], { stdio: [...stdio], timeout: FLOCK_MS })
  return status === HELD && stderr.length === 0
}
