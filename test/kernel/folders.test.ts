import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { makeFolder } from '../../src/kernel/folders.ts'

const folder = mkdtempSync(join(tmpdir(), 'limb-folders-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('making a folder', () => {
  it('makes those above it too, all with the mode, and does nothing when it is there', () => {
    const path = join(folder, 'a', 'b', 'c')
    makeFolder(path, 0o700)
    makeFolder(path, 0o750)
    for (const each of [path, join(folder, 'a', 'b')]) expect(statSync(each).mode & 0o777).toBe(0o700)
  })

  it('fails at a file that is in the way', () => {
    writeFileSync(join(folder, 'file'), '')
    expect(() => makeFolder(join(folder, 'file', 'x'), 0o700)).toThrow(/EEXIST.*file'/)
  })

  it('fails at once where nothing can be made, as below /proc', () => {
    expect(() => makeFolder('/proc/limb-bridge/data', 0o700)).toThrow(/ENOENT.*'\/proc\/limb-bridge'/)
  })
})
