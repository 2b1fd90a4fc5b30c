import { statSync } from 'node:fs'
import { createServer } from 'node:net'

/**
 * A lock on the file itself, whatever name it is opened by: a removed lock file, a hard link or a bind mount of the
 * same database lets no second bridge start. It is a socket in Linux' abstract name space, named for device and inode:
 * it has no file that could be removed, and the kernel takes it back at `kill -9`.
 */

export interface InodeLock {
  release(): void
}

/**
 * Locks a file; null: another process of this machine holds it. Elsewhere than on Linux there is no lock, and nothing
 * is held.
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
  return { release: () => server.close() }
}
