import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { lockInode } from '../../src/store/sqlite/inode-lock.ts'
import { Command } from '../support/command.ts'

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'limb-inode-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function newFile(): string {
  const file = join(emptyFolder(), 'limb.sqlite')
  writeFileSync(file, '')
  return file
}

/** Locks the file in a child, which then runs these words of the shell, and says so. */
async function heldElsewhere(file: string, words: string): Promise<Command> {
  const holder = new Command('sh', ['-c', `exec 3<"$0"; flock 3; echo held; ${words}`, file])
  await holder.line('held')
  return holder
}

/** Takes the name in the abstract name space that belongs to a file, as anybody on the machine can. */
async function nameTaken(file: string): Promise<void> {
  const { dev, ino } = statSync(file)
  const server = createServer()
  await new Promise<void>((done) => server.listen(`\0limb-bridge-database-${dev}-${ino}`, done))
  onTestFinished(() => void server.close())
}

describe.runIf(process.platform === 'linux')('a lock on a file', () => {
  test('that somebody else holds for a moment is waited for', async () => {
    const file = newFile()
    await using _holder = await heldElsewhere(file, 'sleep 0.2')
    const lock = lockInode(file)
    expect(lock).not.toBeNull()
    lock?.release()
  })

  test('that stays held is refused, and is free when its holder has ended', async () => {
    const file = newFile()
    await using holder = await heldElsewhere(file, 'read until')
    expect(lockInode(file)).toBeNull()
    holder.child.stdin?.end()
    await holder.ended
    const lock = lockInode(file)
    expect(lock).not.toBeNull()
    expect(lockInode(file)).toBeNull()
    lock?.release()
    lockInode(file)?.release()
  })

  test('is taken although somebody without a right to the file has taken the name that stands for it', async () => {
    const file = newFile()
    await nameTaken(file)
    const lock = lockInode(file)
    expect(lock).not.toBeNull()
    lock?.release()
  })

  test('that no program can take is the name, which one process has', async () => {
    const file = newFile()
    vi.stubEnv('PATH', emptyFolder())
    onTestFinished(() => void vi.unstubAllEnvs())
    const lock = lockInode(file)
    expect(lock).not.toBeNull()
    lock?.release()
    await nameTaken(file)
    expect(lockInode(file)).toBeNull()
  })
})
