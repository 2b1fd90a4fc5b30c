import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareCapabilities, sameCapabilities } from '../../src/domain/capabilities.ts'
import { LEVELS } from '../../src/protocol/names.ts'
import type { Capability } from '../../src/protocol/schemas.ts'

const camera: Capability = { cap: 'camera', commands: ['camera.snap', 'camera.pan'], authLevel: 'leased' }

const capability = fc.record({
  cap: fc.constantFrom('a', 'b', 'c'),
  commands: fc.uniqueArray(fc.constantFrom('x', 'y', 'z'), { maxLength: 3 }),
  authLevel: fc.constantFrom(...LEVELS),
})
const capabilities = fc.uniqueArray(capability, { selector: (entry) => entry.cap, maxLength: 3 })

function allows(list: readonly Capability[], cap: string, command: string): number {
  const entry = list.find((candidate) => candidate.cap === cap && candidate.commands.includes(command))
  return entry ? LEVELS.length - LEVELS.indexOf(entry.authLevel) : 0
}

describe('a registration of an approved limb', () => {
  it('drops what the limb does not offer any more', () => {
    expect(compareCapabilities([camera], [{ ...camera, commands: ['camera.snap'] }])).toEqual({
      effective: [{ ...camera, commands: ['camera.snap'] }],
      widens: false,
    })
    expect(compareCapabilities([camera], [])).toEqual({ effective: [], widens: false })
  })

  it.each([
    ['a new capability', [camera, { cap: 'siren', commands: ['siren.on'], authLevel: 'gated' }]],
    ['a new command', [{ ...camera, commands: [...camera.commands, 'camera.format'] }]],
    ['a looser level', [{ ...camera, authLevel: 'free' }]],
  ] as [string, Capability[]][])('asks first for %s, and keeps what is approved', (_, asked) => {
    expect(compareCapabilities([camera], asked)).toEqual({ effective: [camera], widens: true })
  })

  it('takes a stricter level at once', () => {
    const asked: Capability[] = [{ ...camera, authLevel: 'gated' }]
    expect(compareCapabilities([camera], asked)).toEqual({ effective: asked, widens: false })
  })

  it('never gives a limb more than was approved, and keeps all of it that it still asks for', () => {
    fc.assert(
      fc.property(capabilities, capabilities, (approved, asked) => {
        const { effective, widens } = compareCapabilities(approved, asked)
        let more = false
        for (const cap of ['a', 'b', 'c']) {
          for (const command of ['x', 'y', 'z']) {
            const [had, wants, has] = [approved, asked, effective].map((list) =>
              allows(list, cap, command),
            ) as [number, number, number]
            expect(has).toBe(Math.min(had, wants))
            if (wants > had) more = true
          }
        }
        if (more) expect(widens).toBe(true)
      }),
    )
  })

  it('means the same in any order', () => {
    expect(sameCapabilities([camera], [{ ...camera, commands: [...camera.commands].reverse() }])).toBe(true)
  })
})
