import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Policies } from '../../../src/bridge/access/policies.ts'
import type { PolicyRecord } from '../../../src/domain/records.ts'
import { systemClock } from '../../../src/kernel/clock.ts'
import { type AuthLevel, LEVELS } from '../../../src/protocol/names.ts'
import { openDatabase } from '../../../src/store/sqlite/database.ts'
import { createStore } from '../../../src/store/sqlite/store.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const open = () => createStore(openDatabase({ file: ':memory:', clock: systemClock, log: quiet }))

const name = fc.constantFrom('a', 'b', 'c')
const any = fc.constantFrom('a', 'b', '*')
const level = fc.constantFrom(...LEVELS)
type Change = { set: AuthLevel | null; principal: string; nodeId: string; capability: string }
const change: fc.Arbitrary<Change | { gone: string }> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ set: fc.option(level), principal: any, nodeId: any, capability: any }),
  },
  { weight: 1, arbitrary: fc.record({ gone: name }) },
)

/** A named node before a named principal before a named capability. */
const specificity = (entry: PolicyRecord) =>
  (entry.nodeId === '*' ? 0 : 4) + (entry.principal === '*' ? 0 : 2) + (entry.capability === '*' ? 0 : 1)

/** The rule as the protocol says it, over a plain list. */
function byHand(entries: readonly PolicyRecord[], triple: readonly string[]): PolicyRecord | undefined {
  const matches = (entry: PolicyRecord) =>
    [entry.principal, entry.nodeId, entry.capability].every((part, i) => part === '*' || part === triple[i])
  return entries.filter(matches).sort((x, y) => specificity(y) - specificity(x))[0]
}

describe('the policy', () => {
  it('decides after every change as the plain rule does, from memory and from the store alike', async () => {
    const store = open()
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(change, fc.array(fc.tuple(name, name, name), { maxLength: 4 })), { maxLength: 12 }),
        level,
        level,
        async (rounds, floor, authLevel) => {
          const book = new Policies(store, floor)
          let entries: PolicyRecord[] = []
          for (const [each, asked] of rounds) {
            if ('gone' in each) {
              await store.transact(async (tx) => {
                await tx.deleteNode(each.gone)
                await tx.deletePrincipal(each.gone)
              })
              entries = entries.filter((entry) => entry.nodeId !== each.gone && entry.principal !== each.gone)
              book.gone(each.gone)
            } else {
              const { set, ...key } = each
              const same = (entry: PolicyRecord) =>
                entry.principal === key.principal &&
                entry.nodeId === key.nodeId &&
                entry.capability === key.capability
              entries = entries.filter((entry) => !same(entry))
              const record = set === null ? null : { ...key, level: set, setAt: 1, setBy: 'x' }
              if (record) entries.push(record)
              await store.transact(async (tx) => {
                if (record) await tx.putPolicy(record)
                else await tx.deletePolicy(key.principal, key.nodeId, key.capability)
              })
              book.changed(key)
            }
            for (const triple of asked) {
              const [principal, nodeId, capability] = triple
              const held = { cap: capability, commands: [], authLevel }
              const expected = byHand(entries, triple)?.level ?? authLevel
              const floored = LEVELS.indexOf(floor) > LEVELS.indexOf(expected) ? floor : expected
              expect((await book.decide(principal, nodeId, capability, held)).level).toBe(floored)
              expect(book.decideNow(principal, nodeId, held)?.level).toBe(floored)
            }
          }
          for (const { principal, nodeId, capability } of entries) {
            await store.transact(async (tx) => void (await tx.deletePolicy(principal, nodeId, capability)))
          }
        },
      ),
      { numRuns: 200 },
    )
    await store.close()
  })

  it('does not remember what it read before a change', async () => {
    const store = open()
    const book = new Policies(store, 'free')
    const held = { cap: 'arm', commands: [], authLevel: 'free' as const }
    const reading = book.decide('ann', 'n', 'arm', held)
    // The change comes while the answer is on its way.
    book.changed({ principal: 'ann', nodeId: 'n' })
    await reading
    expect(book.decideNow('ann', 'n', held)).toBeUndefined()
    await store.close()
  })

  it('denies a capability that the limb does not have, whatever entries say', async () => {
    const store = open()
    const any = { principal: '*', nodeId: 'n', capability: '*', level: 'free' as const, setAt: 1, setBy: 'x' }
    await store.transact((tx) => tx.putPolicy(any))
    const decision = await new Policies(store, 'free').decide('ann', 'n', 'wings', undefined)
    expect(decision).toEqual({ level: 'denied', decidedBy: 'default' })
    await store.close()
  })

  it('is remembered for a hundred thousand decisions, and asked of the store anew for those of longest ago', async () => {
    let reads = 0
    const read = async () => {
      reads++
      return null
    }
    const book = new Policies({ read } as never, 'free')
    const decide = (i: number) => book.decide('ann', `n${i}`, 'door', undefined)
    for (let i = 0; i < 100_001; i++) await decide(i)
    expect(reads).toBe(100_001)
    await decide(100_000)
    await decide(50_001)
    expect(reads).toBe(100_001)
    await decide(0)
    expect(reads).toBe(100_002)
  })
})
