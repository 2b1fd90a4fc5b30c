import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { Store, Tx } from '../../src/bridge/ports.ts'
import type { InvocationRecord } from '../../src/domain/invocations.ts'
import type { NodeRecord, PairingRequestRecord, PolicyRecord } from '../../src/domain/records.ts'
import { Refusal } from '../../src/kernel/errors.ts'
import { hashKey } from '../../src/kernel/secrets.ts'

/** What every Store must do, whatever it is made of. `make` opens an empty one. */
export function storeContract(name: string, make: () => Store): void {
  describe(`the contract of Store: ${name}`, () => {
    const opened: Store[] = []
    const open = () => {
      const store = make()
      opened.push(store)
      return store
    }
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((store) => store.close()))
    })

    test('a node comes back as it was put, with its keys apart', async () => {
      const store = open()
      const node = nodeOf('cam-1', { operatorName: 'Front', heartbeatSeconds: 20, firmware: '1.2.0' })
      const keys = { current: hashKey('a'.repeat(20)), next: hashKey('b'.repeat(20)), currentUntil: 99 }
      await store.transact(async (tx) => {
        await tx.putNode(node)
        await tx.putNodeKeys('cam-1', keys)
      })
      await store.transact((tx) => tx.putNode({ ...node, displayName: 'renamed' }))
      expect(await store.read((tx) => tx.node('cam-1'))).toEqual({ ...node, displayName: 'renamed' })
      expect(bytes(await store.read((tx) => tx.nodeKeys('cam-1')))).toEqual(bytes(keys))
      expect(await store.read((tx) => tx.node('cam-2'))).toBeNull()
      expect(await store.read((tx) => tx.nodeKeys('cam-2'))).toBeNull()
    })

    test('every node is loaded once, in order of nodeId', async () => {
      const store = open()
      const ids = Array.from({ length: 4500 }, (_, i) => `n-${i}`)
      await store.transact(async (tx) => {
        for (const id of ids) await tx.putNode(nodeOf(id))
      })
      const loaded = await loadedIds(store)
      expect(loaded).toEqual([...ids].sort())
    })

    test('deleting a node deletes what belongs to it, and keeps its refused keys', async () => {
      const store = open()
      const key = hashKey('k'.repeat(20))
      await store.transact(async (tx) => {
        await tx.putNode(nodeOf('cam-1', { lastHeartbeatAt: 5 }))
        await tx.putNodeKeys('cam-1', { current: key, next: null, currentUntil: null })
        await tx.putRequest(requestOf('r-1', 'cam-1'))
        await tx.putRefusedWidening({ nodeId: 'cam-1', fingerprint: 'f', at: 1, until: 100 })
        await tx.putRefusedKey({ nodeId: 'cam-1', key, why: 'rejected', at: 1, until: 100 })
        await tx.putPolicy(policyOf('ada', 'cam-1', '*'))
        await tx.putPolicy(policyOf('ada', '*', '*'))
      })
      await store.transact((tx) => tx.deleteNode('cam-1'))
      await store.read(async (tx) => {
        expect(await tx.node('cam-1')).toBeNull()
        expect(await tx.nodeKeys('cam-1')).toBeNull()
        expect(await tx.requestsOfNode('cam-1')).toEqual([])
        expect(await tx.refusedWidening('cam-1', 0)).toBeNull()
        expect((await tx.policies({}, null, 10)).items).toHaveLength(1)
        expect(await tx.refusedKeys('cam-1', 0)).toHaveLength(1)
      })
      await store.transact((tx) => tx.putNode(nodeOf('cam-1')))
      expect((await store.read((tx) => tx.node('cam-1')))?.lastHeartbeatAt).toBeNull()
    })

    test('a heartbeat that is stored is never replaced by an older one or by a stale record', async () => {
      const store = open()
      await store.transact((tx) => tx.putNode(nodeOf('cam-1')))
      await store.saveHeartbeats([
        { nodeId: 'cam-1', at: 200 },
        { nodeId: 'gone', at: 200 },
      ])
      await store.saveHeartbeats([{ nodeId: 'cam-1', at: 100 }])
      await store.transact((tx) => tx.putNode(nodeOf('cam-1', { lastHeartbeatAt: 150 })))
      expect((await store.read((tx) => tx.node('cam-1')))?.lastHeartbeatAt).toBe(200)
      expect(await store.read((tx) => tx.node('gone'))).toBeNull()
    })

    test('requests are found by id, node and address', async () => {
      const store = open()
      await store.transact(async (tx) => {
        await tx.putRequest(requestOf('r-1', 'cam-1', { expiresAt: 10 }))
        await tx.putRequest(requestOf('r-2', 'cam-1', { expiresAt: 20, address: '10.0.0.2' }))
        await tx.putRequest(requestOf('r-2', 'cam-1', { expiresAt: 20, address: '10.0.0.2', revision: 2 }))
        await tx.putRequest(requestOf('r-3', 'cam-2', { kind: 'widen', key: null, code: null }))
        await tx.deleteRequest('r-9')
      })
      await store.transact(async (tx) => {
        expect((await tx.request('r-2'))?.revision).toBe(2)
        expect((await tx.request('r-3'))?.key).toBeNull()
        expect(await tx.request('r-9')).toBeNull()
        expect((await tx.requestsOfNode('cam-1')).map((each) => each.requestId)).toEqual(['r-1', 'r-2'])
        expect(await tx.countRequests()).toBe(3)
        expect(await tx.countRequestsFrom('10.0.0.2')).toBe(1)
      })
      const bounds = { now: 0, maxRequests: 100, maxBytes: 1_000_000 }
      expect((await store.loadRequests(bounds)).requests).toHaveLength(3)
    })

    test('requests from the addresses of one IPv6 network are counted as those of one address', async () => {
      const store = open()
      const addresses = ['2001:db8:0:1::1', '2001:db8::1:ffff:0:0:2', '2001:db8:0:2::1', '10.0.0.2', '::1']
      await store.transact(async (tx) => {
        for (const [i, address] of addresses.entries())
          await tx.putRequest(requestOf(`r-${i}`, `cam-${i}`, { address }))
      })
      await store.transact(async (tx) => {
        expect(await tx.countRequestsFrom('2001:db8:0:1::9')).toBe(2)
        expect(await tx.countRequestsFrom('2001:db8:0:2::9')).toBe(1)
        expect(await tx.countRequestsFrom('2001:db8:0:3::9')).toBe(0)
        expect(await tx.countRequestsFrom('10.0.0.2')).toBe(1)
        expect(await tx.countRequestsFrom('::1')).toBe(1)
      })
    })

    test('refused keys and widenings end by themselves, and keys are bounded to the newest of a node', async () => {
      const store = open()
      await store.transact(async (tx) => {
        for (let i = 1; i <= 40; i++) {
          await tx.putRefusedKey({
            nodeId: 'cam-1',
            key: hashKey(`key-${i}`),
            why: 'rejected',
            at: 1,
            until: i,
          })
        }
        await tx.putRefusedWidening({ nodeId: 'cam-1', fingerprint: 'old', at: 1, until: 5 })
        await tx.putRefusedWidening({ nodeId: 'cam-1', fingerprint: 'new', at: 1, until: 9 })
      })
      await store.read(async (tx) => {
        const kept = await tx.refusedKeys('cam-1', 0)
        expect(kept.length).toBeLessThan(40)
        expect(kept.map((refused) => refused.until).sort((a, b) => b - a)).toEqual(
          Array.from({ length: kept.length }, (_, i) => 40 - i),
        )
        expect(await tx.refusedKeys('cam-1', 39)).toHaveLength(1)
        expect(await tx.refusedKeys('cam-1', 40)).toEqual([])
        expect((await tx.refusedWidening('cam-1', 8))?.fingerprint).toBe('new')
        expect(await tx.refusedWidening('cam-1', 9)).toBeNull()
      })
    })

    test('principals are listed by name in pages, and take their policies with them', async () => {
      const store = open()
      await store.transact(async (tx) => {
        for (const name of ['bob', 'ada', 'eve']) {
          await tx.putPrincipal({
            name,
            role: name === 'ada' ? 'admin' : 'agent',
            passwordHash: PHC,
            createdAt: 1,
            createdBy: 'x',
          })
          await tx.putPolicy(policyOf(name, '*', '*'))
        }
      })
      await store.transact(async (tx) => {
        const first = await tx.principals(null, 2)
        expect(first.items.map((each) => each.name)).toEqual(['ada', 'bob'])
        const second = await tx.principals(first.next, 2)
        expect(second.items.map((each) => each.name)).toEqual(['eve'])
        expect(second.next).toBeNull()
        expect(await tx.countAdmins()).toBe(1)
        await tx.deletePrincipal('ada')
        expect(await tx.countAdmins()).toBe(0)
        expect(await tx.principal('ada')).toBeNull()
        expect((await tx.policies({ principal: 'ada' }, null, 10)).items).toEqual([])
        expect((await tx.policies({}, null, 10)).items).toHaveLength(2)
      })
    })

    test('a principal that is deleted leaves no idempotency key and no answer, and its calls stay', async () => {
      const store = open()
      await store.transact(async (tx) => {
        for (const principal of ['ada', 'bob']) {
          await tx.putInvocation(
            callOf(`iv_${principal}`, { principal, idempotencyKey: 'k', fingerprint: 'f' }),
          )
          await tx.putAnswer(`iv_${principal}`, '{}', { perPrincipal: 1e9, total: 1e9 })
        }
        await tx.deletePrincipal('ada')
      })
      await store.read(async (tx) => {
        expect(await tx.invocationByKey('ada', 'k')).toBeNull()
        expect(await tx.answer('iv_ada')).toBeNull()
        expect(await tx.invocation('iv_ada')).not.toBeNull()
        expect(await tx.countKeys('ada')).toBe(0)
        expect(await tx.answer('iv_bob')).toBe('{}')
      })
      await store.transact((tx) => tx.forgetKeys('bob'))
      expect(await store.read((tx) => tx.invocationByKey('bob', 'k'))).toBeNull()
    })

    test('the policies at a place are those of exactly its names, for the capability and for any', async () => {
      const store = open()
      const [mine, others] = [['ada', 'cam-1', 'camera'] as const, ['bob', 'cam-2', 'arm'] as const]
      await store.transact(async (tx) => {
        for (const principal of ['*', mine[0], others[0]])
          for (const nodeId of ['*', mine[1], others[1]])
            for (const capability of ['*', mine[2], others[2]]) {
              await tx.putPolicy(policyOf(principal, nodeId, capability))
            }
        for (const [principal, nodeId] of [mine, ['*', mine[1]], [mine[0], '*'], ['*', '*']] as const) {
          const found = await tx.policiesAt(principal, nodeId, mine[2])
          expect(found).toHaveLength(2)
          for (const each of found) expect(each).toMatchObject({ principal, nodeId })
          expect(found.map(({ capability }) => capability).sort()).toEqual(['*', mine[2]])
        }
        expect(await tx.deletePolicy(...mine)).toBe(true)
        expect(await tx.deletePolicy(...mine)).toBe(false)
        expect(await tx.policiesAt(...mine)).toHaveLength(1)
        expect(await tx.policiesAt('nobody', mine[1], mine[2])).toEqual([])
      })
    })

    test('pages of policies together are the whole list, at any page size and with any filter', async () => {
      const name = fc.constantFrom('*', 'a', 'b', 'b-1', 'b_1', 'B')
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(fc.tuple(name, name, name), { selector: (key) => key.join('/'), maxLength: 40 }),
          fc.integer({ min: 1, max: 7 }),
          fc.record({
            principal: fc.option(name, { nil: undefined }),
            nodeId: fc.option(name, { nil: undefined }),
          }),
          async (keys, limit, filter) => {
            const store = make()
            const paged = await store.transact(async (tx) => {
              for (const key of keys) await tx.putPolicy(policyOf(...key))
              return allPages((after) => tx.policies(filter, after, limit))
            })
            await store.close()
            const expected = keys
              .filter(([principal]) => filter.principal === undefined || principal === filter.principal)
              .filter(([, nodeId]) => filter.nodeId === undefined || nodeId === filter.nodeId)
            expect(paged.map((each) => [each.principal, each.nodeId, each.capability])).toEqual(
              sorted(expected),
            )
          },
        ),
        { numRuns: 40 },
      )
    })

    test('a cursor that no page gave is refused', async () => {
      const store = open()
      const listing = store.read((tx) => tx.policies({}, 'nonsense', 10))
      await expect(listing).rejects.toMatchObject({ code: 'invalid_request', path: 'after' })
    })

    test('a work that throws is undone alone; those that share its commit stay', async () => {
      const store = open()
      const put = (id: string, fail: boolean) =>
        store.transact(async (tx) => {
          await tx.putNode(nodeOf(id))
          if (fail) throw new Refusal('conflict', 'no')
          return id
        })
      const outcomes = await Promise.allSettled([put('a', false), put('b', true), put('c', false)])
      expect(outcomes.map((each) => each.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(outcomes[1]).toMatchObject({ reason: { code: 'conflict' } })
      expect(await loadedIds(store)).toEqual(['a', 'c'])
    })

    test('works of one turn run one after the other, each seeing the one before', async () => {
      const store = open()
      const count = (id: string) =>
        store.transact(async (tx) => {
          const before = await tx.countRequests()
          await tx.putRequest(requestOf(id, 'cam-1'))
          return before
        })
      expect(await Promise.all(['r-1', 'r-2', 'r-3'].map(count))).toEqual([0, 1, 2])
    })

    test('a read sees nothing of works that have not been committed', async () => {
      const store = open()
      const writing = store.transact((tx) => tx.putNode(nodeOf('cam-1')))
      expect(await store.read((tx) => tx.node('cam-1'))).toBeNull()
      await writing
      expect(await store.read((tx) => tx.node('cam-1'))).not.toBeNull()
    })

    test('a transaction that is used after its end is a broken invariant', async () => {
      const store = open()
      let kept: Tx | undefined
      await store.transact(async (tx) => {
        kept = tx
      })
      await expect(kept?.putNode(nodeOf('late'))).rejects.toThrow(/broken invariant/)
      await store.transact(async () => {})
      expect(await store.read((tx) => tx.node('late'))).toBeNull()
    })

    test('after close, writes are refused', async () => {
      const store = make()
      await store.close()
      await expect(store.transact(async () => 1)).rejects.toMatchObject({ code: 'storage_unavailable' })
    })
  })
}

async function loadedIds(store: Store): Promise<string[]> {
  const ids: string[] = []
  for await (const node of store.loadNodes()) ids.push(node.nodeId)
  return ids
}

export function nodeOf(nodeId: string, changes: Partial<NodeRecord> = {}): NodeRecord {
  return {
    nodeId,
    displayName: `Node ${nodeId}`,
    operatorName: null,
    platform: 'esp32',
    timeoutSeconds: null,
    presence: null,
    ownDescription: null,
    adapter: null,
    operatorDescription: null,
    operatorSettings: null,
    firmware: null,
    endpointUrl: null,
    invoke: 'mqtt',
    capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'leased' }],
    heartbeatSeconds: null,
    approvedAt: 1,
    approvedBy: 'admin',
    updatedAt: 2,
    lastHeartbeatAt: null,
    ...changes,
  }
}

export function requestOf(
  requestId: string,
  nodeId: string,
  changes: Partial<PairingRequestRecord> = {},
): PairingRequestRecord {
  return {
    requestId,
    nodeId,
    kind: 'new',
    revision: 1,
    registration: { displayName: 'x', platform: 'esp32', capabilities: [] },
    key: hashKey('k'.repeat(20)),
    code: 'BCDFGHJK',
    address: '10.0.0.1',
    requestedAt: 1,
    expiresAt: 1000,
    ...changes,
  }
}

export function callOf(invocationId: string, changes: Partial<InvocationRecord> = {}): InvocationRecord {
  return {
    invocationId,
    principal: 'ann',
    nodeId: 'r1',
    capability: 'c',
    command: 'c.do',
    paramsHash: 'f0',
    level: 'free',
    state: 'done',
    createdAt: 1,
    endedAt: 2,
    fence: null,
    idempotencyKey: null,
    fingerprint: null,
    decidedBy: null,
    reason: null,
    error: null,
    ...changes,
  }
}

export function policyOf(principal: string, nodeId: string, capability: string): PolicyRecord {
  return { principal, nodeId, capability, level: 'gated', setAt: 1, setBy: 'admin' }
}

export const PHC = `$scrypt$ln=15,r=8,p=1$${'A'.repeat(22)}$${'B'.repeat(43)}`

async function allPages<T>(
  page: (after: string | null) => Promise<{ items: readonly T[]; next: string | null }>,
) {
  const all: T[] = []
  for (let after: string | null = null; ; ) {
    const { items, next }: { items: readonly T[]; next: string | null } = await page(after)
    all.push(...items)
    if (next === null) return all
    after = next
  }
}

/** In the order of bytes, key by key. */
function sorted(keys: readonly (readonly string[])[]): string[][] {
  const text = (key: readonly string[]) => key.join('\0')
  return keys.map((key) => [...key]).sort((a, b) => (text(a) < text(b) ? -1 : 1))
}

/** Buffers and plain arrays of bytes compare equal. */
function bytes(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, each) => (each instanceof Uint8Array ? [...each] : fromBuffer(each))),
  )
}

function fromBuffer(value: unknown): unknown {
  const json = value as { type?: unknown; data?: unknown } | null
  return typeof json === 'object' && json?.type === 'Buffer' ? json.data : value
}
