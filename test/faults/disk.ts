import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { lacking, skipAll } from '../support/needs.ts'

/** File systems of a test's own, which can be filled and made read-only. */

function mount(...args: string[]): void {
  execFileSync('mount', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

function probe(): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'limb-mount-'))
  try {
    mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder)
    execFileSync('umount', [folder])
    return null
  } catch (error) {
    return error instanceof Error ? error.message.split('\n')[0] || 'no' : String(error)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Why file systems cannot be mounted here; null: they can. */
const noMounts = probe()

/** Skips every test of a file where nothing can be mounted. */
export function fileMounts(): void {
  skipAll(noMounts === null ? lacking('ext4') : `nothing can be mounted here: ${noMounts}`)
}

export interface SmallDisk {
  readonly folder: string
  /** Takes every byte that is left. */
  fill(): void
  /** Gives back what was taken. */
  free(): void
  /** `ro` only while nobody has a file open for writing. */
  remount(mode: 'ro' | 'rw'): void
}

/** A file system of some megabytes, gone after the test. */
export function smallDisk(mebibytes: number): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), 'limb-disk-'))
  mount('-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=700`, 'tmpfs', folder)
  onTestFinished(() => {
    // Lazy: a process that is just ending may still have a file open.
    execFileSync('umount', ['-l', folder])
    rmSync(folder, { recursive: true, force: true })
  })
  const ballast = join(folder, 'ballast')
  return {
    folder,
    fill: () => fill(ballast),
    free: () => rmSync(ballast, { force: true }),
    remount: (mode) => mount('-o', `remount,${mode}`, folder),
  }
}

export interface FailingDisk {
  readonly folder: string
  /** As the kernel does it when the device fails (`errors=remount-ro`): files that are open cannot be written either. */
  fail(): void
  /** Repaired and mounted anew; nobody may have a file open. */
  repair(): void
}

/** An ext4 of its own on a loop device; null when there are none here. */
export function failingDisk(): FailingDisk | null {
  const folder = mkdtempSync(join(tmpdir(), 'limb-ext4-'))
  const image = `${folder}.img`
  const gone = () => {
    rmSync(folder, { recursive: true, force: true })
    rmSync(image, { force: true })
  }
  try {
    execFileSync('truncate', ['-s', '32M', image])
    execFileSync('mkfs.ext4', ['-q', image], { stdio: 'ignore' })
    mount('-o', 'loop', image, folder)
  } catch (error) {
    gone()
    console.warn(`skipped, because no ext4 can be mounted here: ${String(error).split('\n')[0]}`)
    return null
  }
  onTestFinished(() => {
    execFileSync('umount', ['-l', folder])
    gone()
  })
  return {
    folder,
    fail: () => mount('-o', 'remount,abort', folder),
    repair() {
      execFileSync('umount', [folder])
      // 1: errors were corrected.
      spawnSync('fsck.ext4', ['-y', image], { stdio: 'ignore' })
      mount('-o', 'loop', image, folder)
    },
  }
}

function fill(path: string): void {
  const file = openSync(path, 'a')
  try {
    for (const bytes of [1_048_576, 65_536, 4096, 1]) {
      const block = Buffer.alloc(bytes)
      try {
        for (;;) writeSync(file, block)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
    }
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
