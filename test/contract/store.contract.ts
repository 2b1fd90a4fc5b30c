import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { ClaimAsked, Retention, Store, Tx } from '../../src/bridge/ports.ts'
import type { InvocationRecord } from '../../src/domain/invocations.ts'
import type {
  AuditEntry,
  NodeRecord,
  PairingRequestRecord,
  PolicyRecord,
  PrincipalRecord,
} from '../../src/domain/records.ts'
import { Refusal } from '../../src/kernel/errors.ts'
import { hashKey } from '../../src/kernel/secrets.ts'
import type { AuditKind } from '../../src/protocol/audit-kinds.ts'
import type { Role } from '../../src/protocol/names.ts'

export interface StoreMaker {
  /** Opens an empty one. */
  (): Store
  /** Lets somebody else take the store over, as a second bridge does that believes the first one dead. */
  takeOver?(store: Store): void | Promise<void>
}

/** What every Store must do, whatever it is made of. */
export function storeContract(name: string, make: StoreMaker): void {
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
        expect((await tx.policies({}, undefined, 10)).items).toHaveLength(1)
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
        expect(await tx.claimFacts(claimBy('cam-1', '10.0.0.2'))).toMatchObject({
          pending: 3,
          pendingFrom: 1,
        })
        expect(await tx.claimFacts(claimBy('cam-1', undefined))).toMatchObject({ pending: 3, pendingFrom: 0 })
      })
      const bounds = { now: 0, maxRequests: 100, maxBytes: 1_000_000 }
      expect((await store.loadRequests(bounds)).requests).toHaveLength(3)
    })

    test('who has which of many names, and the requests for them, is read at once', async () => {
      const store = open()
      await store.transact(async (tx) => {
        await tx.putNode(nodeOf('cam-1'))
        await tx.putPrincipal(principalOf('ann'))
        await tx.putRequest(requestOf('r-2', 'cam-2', { requestedAt: 20 }))
        await tx.putRequest(requestOf('r-1', 'cam-2', { requestedAt: 10 }))
        await tx.putRequest(requestOf('r-3', 'cam-9'))
      })
      const facts = await store.transact((tx) => tx.nameFacts(['cam-1', 'cam-2', 'ann', 'nobody', "'; --"]))
      expect([...facts.nodes]).toEqual(['cam-1'])
      expect([...facts.principals]).toEqual(['ann'])
      const requests = [...facts.requests].map(([name, all]) => [name, all.map((each) => each.requestId)])
      expect(requests).toEqual([['cam-2', ['r-1', 'r-2']]])
    })

    test('audit rows that are appended together are the rows that they are one by one', async () => {
      const store = open()
      const entry = (kind: AuditKind, nodeId: string) => ({
        at: 1,
        actor: 'ann',
        kind,
        nodeId,
        outcome: 'stored',
        detail: { nodeId },
      })
      const kinds = ['node.provisioned', 'node.provisioned', 'token.added', 'node.renamed'] as const
      const entries = kinds.map((kind, i) => entry(kind, `cam-${i}`))
      await store.transact((tx) => tx.audit(entry('node.renamed', 'before')))
      await store.transact((tx) => tx.auditAll(entries))
      await store.transact((tx) => tx.auditAll([]))
      await store.transact((tx) => tx.audit(entry('node.renamed', 'after')))
      const { items } = await store.read((tx) => tx.auditRows({}, 'oldest', undefined, 10))
      expect(items.map(({ kind, nodeId }) => `${kind} ${nodeId}`)).toEqual([
        'node.renamed before',
        ...entries.map(({ kind, nodeId }) => `${kind} ${nodeId}`),
        'node.renamed after',
      ])
      expect(await store.verifyAudit()).toMatchObject({ whole: true })
    })

    test('all that a claim is decided from is read at once, and is what the single reads say', async () => {
      const store = open()
      const text = 'NUL \0, U+FDD0 \uFDD0 and four bytes \u{1F980}'
      const registration = { ...requestOf('r', 'n').registration, displayName: text }
      await store.transact(async (tx) => {
        await tx.putNode(nodeOf('cam-1'))
        await tx.putNodeKeys('cam-1', {
          current: hashKey('a-key-of-its-own'),
          next: hashKey('next-key-next-key'),
          currentUntil: 7,
        })
        await tx.putRequest(requestOf('r-2', 'cam-1', { requestedAt: 20, registration }))
        await tx.putRequest(
          requestOf('r-1', 'cam-1', { requestedAt: 10, kind: 'widen', key: null, code: null }),
        )
        await tx.putRequest(requestOf('r-3', 'cam-2'))
        for (const [i, until] of [5, 50, 60].entries())
          await tx.putRefusedKey({
            nodeId: 'cam-1',
            key: hashKey(`refused-key-${i}`),
            why: 'rejected',
            at: 1,
            until,
          })
      })
      const asked = { ...claimBy('cam-1', '10.0.0.1'), now: 5 }
      const facts = await store.transact(async (tx) => ({
        atOnce: await tx.claimFacts(asked),
        keys: await tx.nodeKeys('cam-1'),
        requests: await tx.requestsOfNode('cam-1'),
        refused: await tx.refusedKeys('cam-1', 5),
        nobody: await tx.claimFacts({ ...asked, nodeId: 'nobody' }),
      }))
      expect(facts.atOnce.keys).toEqual(facts.keys)
      expect(facts.atOnce.requests).toEqual(facts.requests)
      expect(facts.requests.map(({ requestId }) => requestId)).toEqual(['r-1', 'r-2'])
      const ends = (list: readonly { until: number }[]) => list.map(({ until }) => until).sort()
      expect(ends(facts.atOnce.refusedKeys)).toEqual([50, 60])
      expect(new Set(facts.atOnce.refusedKeys)).toEqual(new Set(facts.refused))
      expect(facts.nobody).toMatchObject({ keys: null, requests: [], refusedKeys: [], pending: 3 })
    })

    test('requests from the addresses of one IPv6 network are counted as those of one address', async () => {
      const store = open()
      const addresses = ['2001:db8:0:1::1', '2001:db8::1:ffff:0:0:2', '2001:db8:0:2::1', '10.0.0.2', '::1']
      await store.transact(async (tx) => {
        for (const [i, address] of addresses.entries())
          await tx.putRequest(requestOf(`r-${i}`, `cam-${i}`, { address }))
      })
      await store.transact(async (tx) => {
        expect((await tx.claimFacts(claimBy('x', '2001:db8:0:1::9'))).pendingFrom).toBe(2)
        expect((await tx.claimFacts(claimBy('x', '2001:db8:0:2::9'))).pendingFrom).toBe(1)
        expect((await tx.claimFacts(claimBy('x', '2001:db8:0:3::9'))).pendingFrom).toBe(0)
        expect((await tx.claimFacts(claimBy('x', '10.0.0.2'))).pendingFrom).toBe(1)
        expect((await tx.claimFacts(claimBy('x', '::1'))).pendingFrom).toBe(1)
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
        const first = await tx.principals(undefined, 2)
        expect(first.items.map((each) => each.name)).toEqual(['ada', 'bob'])
        const second = await tx.principals(first.next, 2)
        expect(second.items.map((each) => each.name)).toEqual(['eve'])
        expect(second.next).toBeUndefined()
        expect(await tx.countAdmins(1)).toBe(1)
        await tx.deletePrincipal('ada')
        expect(await tx.countAdmins(1)).toBe(0)
        expect(await tx.principal('ada')).toBeNull()
        expect((await tx.policies({ principal: 'ada' }, undefined, 10)).items).toEqual([])
        expect((await tx.policies({}, undefined, 10)).items).toHaveLength(2)
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
        expect(await tx.countKeys('ada', 9)).toBe(0)
        expect(await tx.answer('iv_bob')).toBe('{}')
      })
      await store.transact((tx) => tx.forgetKeys('bob'))
      expect(await store.read((tx) => tx.invocationByKey('bob', 'k'))).toBeNull()
    })

    test('answers of one principal are dropped some at a time, and their keys stay known', async () => {
      const store = open()
      const ANSWERS = 40
      const bounds = { perPrincipal: 1e9, total: 1e9 }
      await store.transact(async (tx) => {
        for (const principal of ['ada', 'bob'])
          for (let i = 0; i < ANSWERS; i++) {
            const invocationId = `iv_${principal}_${i}`
            await tx.putInvocation(
              callOf(invocationId, { principal, idempotencyKey: `k${i}`, fingerprint: 'f' }),
            )
            await tx.putAnswer(invocationId, JSON.stringify('x'.repeat(500_000)), bounds)
          }
      })
      const left = (principal: string) =>
        store.read(async (tx) => {
          const kept: number[] = []
          for (let i = 0; i < ANSWERS; i++) if (await tx.answer(`iv_${principal}_${i}`)) kept.push(i)
          return kept
        })
      let times = 1
      while (await store.transact((tx) => tx.dropAnswersOf('ada'))) {
        times++
        const kept = await left('ada')
        expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => ANSWERS - kept.length + i))
      }
      expect(times).toBeGreaterThan(2)
      expect(await left('ada')).toEqual([])
      expect(await left('bob')).toHaveLength(ANSWERS)
      expect(await store.read((tx) => tx.countKeys('ada', 99))).toBe(ANSWERS)
      expect(await store.transact((tx) => tx.dropAnswersOf('nobody'))).toBe(false)
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
          const before = (await tx.requestsOfNode('cam-1')).length
          await tx.putRequest(requestOf(id, 'cam-1'))
          return before
        })
      expect(await Promise.all(['r-1', 'r-2', 'r-3'].map(count))).toEqual([0, 1, 2])
    })

    test('a read sees nothing of a work that is open, whether it ends well or not', async () => {
      const store = open()
      const readWhileOpen = async (nodeId: string, fails: boolean) => {
        const latch = Promise.withResolvers<void>()
        let answered = false
        const writing = store.transact(async (tx) => {
          await tx.putNode(nodeOf(nodeId))
          latch.resolve()
          // Open until the read has answered, or has had a hundred turns for it.
          for (let i = 0; i < 100 && !answered; i++) await tx.node(nodeId)
          if (fails) throw new Refusal('conflict', 'no')
        })
        await latch.promise
        const seen = store
          .read((tx) => tx.node(nodeId))
          .finally(() => {
            answered = true
          })
        const [end] = await Promise.allSettled([writing, seen])
        return { seen: await seen, end: end.status }
      }
      expect(await readWhileOpen('undone', true)).toEqual({ seen: null, end: 'rejected' })
      await readWhileOpen('done', false)
      expect(await store.read((tx) => tx.node('done'))).not.toBeNull()
      expect(await store.read((tx) => tx.node('undone'))).toBeNull()
    })

    test('what is listed comes in the order of the bytes of its key', async () => {
      const store = open()
      const names = ['b', 'B', 'a', 'a_1', 'a-1', 'a1', 'A-1', 'Z', '0', 'aa']
      await store.transact(async (tx) => {
        for (const name of names) {
          await tx.putNode(nodeOf(name))
          await tx.putPolicy(policyOf(name, name, '*'))
          await tx.putPrincipal(principalOf(name))
        }
      })
      const inOrder = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      expect(await loadedIds(store)).toEqual(inOrder)
      await store.read(async (tx) => {
        const policies = await allPages((after) => tx.policies({}, after, 3))
        expect(policies.map(({ principal }) => principal)).toEqual(inOrder)
        const principals = await allPages((after) => tx.principals(after, 3))
        expect(principals.map(({ name }) => name)).toEqual(inOrder)
      })
    })

    test('texts come back as they were given, with NUL, characters of four bytes and any other', async () => {
      const store = open()
      const texts = [
        '\0',
        'a\0b\0',
        '\u{1D11E}\u{10FFFF}',
        '\uFDD0',
        '\uFDD0\0\uFDD1\uFDD2',
        '\\0 \\x00 %00',
        '\uFFFD\u{FFFE}',
      ]
      await store.transact(async (tx) => {
        for (const [i, text] of texts.entries()) {
          await tx.putInvocation(callOf(`iv_${i}`, { reason: text, idempotencyKey: text, fingerprint: text }))
          await tx.putAnswer(`iv_${i}`, text, { perPrincipal: 1e9, total: 1e9 })
          await tx.audit({
            at: i,
            actor: text,
            kind: 'policy.set',
            nodeId: text,
            outcome: text,
            detail: { [text]: text },
          })
        }
      })
      await store.read(async (tx) => {
        for (const [i, text] of texts.entries()) {
          const call = await tx.invocationByKey('ann', text)
          expect(call).toMatchObject({ invocationId: `iv_${i}`, reason: text, fingerprint: text })
          expect(await tx.answer(`iv_${i}`)).toBe(text)
          const { items } = await tx.auditRows({ actor: text }, 'oldest', undefined, 10)
          expect(items).toMatchObject([{ nodeId: text, outcome: text, detail: { [text]: text } }])
        }
      })
      expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: texts.length })
    })

    test('a page of 5,000 rows is as good as a small one', async () => {
      const store = open()
      const names = Array.from({ length: 10_001 }, (_, i) => `n-${i}`)
      await store.transact(async (tx) => {
        for (const name of names) await tx.putPolicy(policyOf('ada', name, '*'))
      })
      const sizes: number[] = []
      const all = await allPages(async (after) => {
        const page = await store.read((tx) => tx.policies({}, after, 5000))
        sizes.push(page.items.length)
        return page
      })
      expect(sizes).toEqual([5000, 5000, 1])
      expect(all.map(({ nodeId }) => nodeId)).toEqual([...names].sort())
    })

    test('counts go one beyond what is asked about, and no further', async () => {
      const store = open()
      await store.transact(async (tx) => {
        for (let i = 0; i < 5; i++) {
          await tx.putRequest(requestOf(`a-${i}`, 'n'))
          await tx.putRequest(requestOf(`b-${i}`, 'n', { address: `2001:db8::${i}` }))
          await tx.putPrincipal(principalOf(`p-${i}`, 'admin'))
          await tx.putInvocation(callOf(`iv_${i}`, { idempotencyKey: `k-${i}`, fingerprint: 'f' }))
          await tx.putToken({
            tokenId: `t-${i}`,
            hash: new Uint8Array(32).fill(i),
            name: 'n',
            principal: 'ann',
            role: 'viewer',
            createdAt: 1,
            createdBy: 'x',
            expiresAt: null,
            lastUsedAt: null,
            lastAddress: null,
          })
        }
      })
      const counts = (max: number) =>
        store.transact(async (tx) => {
          const claims = ['10.0.0.1', '2001:db8::9'].map((address) =>
            tx.claimFacts(claimBy('x', address, max)),
          )
          const [near, far] = await Promise.all(claims)
          return [
            near?.pending,
            near?.pendingFrom,
            far?.pendingFrom,
            ...(await Promise.all([
              tx.countAdmins(max),
              tx.countKeys('ann', max),
              tx.countTokens('ann', max),
            ])),
          ]
        })
      expect(await counts(2)).toEqual([3, 3, 3, 3, 3, 3])
      expect(await counts(4)).toEqual([5, 5, 5, 5, 5, 5])
      expect(await counts(100)).toEqual([10, 5, 5, 5, 5, 5])
    })

    test('it says that it is well, can be tried, and is kept small, while it works', async () => {
      const store = open()
      expect(store.health()).toEqual({ ok: true })
      expect(await store.probe()).toEqual({ ok: true })
      const works = Array.from({ length: 50 }, (_, i) => store.transact((tx) => tx.putNode(nodeOf(`n-${i}`))))
      await store.maintain()
      await Promise.all(works)
      await store.maintain()
      expect(await loadedIds(store)).toHaveLength(50)
    })

    const { takeOver } = make
    // Not skipped where nobody can take it over, as one in memory: there is nothing to test.
    if (takeOver)
      test('a store that somebody else took over refuses every write', async () => {
        const store = open()
        await store.transact((tx) => tx.putNode(nodeOf('before')))
        await takeOver(store)
        const refused = { code: 'storage_unavailable' }
        let ran = false
        const writes = [
          () =>
            store.transact(async (tx) => {
              await tx.putNode(nodeOf('after'))
              ran = true
            }),
          () => store.saveHeartbeats([{ nodeId: 'before', at: 9 }]),
          () => store.saveRunningMs(9),
          () => store.saveTokenUses([{ tokenId: 't', at: 1, address: '::1' }]),
          () => store.saveKnownAddress({ name: 'n', address: '::1', usedAt: 1 }),
          () => store.saveHistory([{ nodeId: 'before', at: 9, status: 'online', reason: 'heartbeat' }]),
          () => store.resumeHistory(9),
          () => store.pruneHistory(9, 9),
          () => store.recordInvocation(callOf('iv_after'), entryOf()),
          () => store.prune(keepAll),
        ]
        for (const write of writes) await expect(write()).rejects.toMatchObject(refused)
        expect(await store.probe()).toMatchObject({ ok: false })
        expect(store.health()).toMatchObject({ ok: false })
        expect(ran).toBe(false)
        expect(await loadedIds(store)).toEqual(['before'])
        expect((await store.read((tx) => tx.node('before')))?.lastHeartbeatAt).toBeNull()
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

    test('after close, writes and reads are refused', async () => {
      const store = make()
      await store.read((tx) => tx.node('n1'))
      await store.close()
      await expect(store.transact(async () => 1)).rejects.toMatchObject({ code: 'storage_unavailable' })
      await expect(store.read((tx) => tx.node('n1'))).rejects.toThrow()
    })
  })
}

async function loadedIds(store: Store): Promise<string[]> {
  const ids: string[] = []
  for await (const page of store.loadNodes()) ids.push(...page.map(({ nodeId }) => nodeId))
  return ids
}

function claimBy(nodeId: string, address: string | undefined, max = 9): ClaimAsked {
  return { nodeId, address, now: 0, maxPending: max, maxPendingPerAddress: max }
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
    registeredFrom: '192.0.2.7',
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

function principalOf(name: string, role: Role = 'agent'): PrincipalRecord {
  return { name, role, passwordHash: PHC, createdAt: 1, createdBy: 'x' }
}

function entryOf(): AuditEntry {
  return { at: 1, actor: 'ann', kind: 'invocation.done', nodeId: 'r1', outcome: 'done', detail: {} }
}

const keepAll: Retention = {
  at: 1,
  running: 1,
  invocationsBefore: 0,
  maxInvocations: 1e9,
  keysBefore: 0,
  auditBefore: 0,
  maxAuditRows: 1e9,
  maxActivityRows: 1e9,
  attemptsBefore: 0,
  maxAttemptRows: 1e9,
}

export function policyOf(principal: string, nodeId: string, capability: string): PolicyRecord {
  return { principal, nodeId, capability, level: 'gated', setAt: 1, setBy: 'admin' }
}

export const PHC = `$scrypt$ln=15,r=8,p=1$${'A'.repeat(22)}$${'B'.repeat(43)}`

async function allPages<T>(
  page: (after: string | undefined) => Promise<{ items: readonly T[]; next: string | undefined }>,
) {
  const all: T[] = []
  for (let after: string | undefined; ; ) {
    const { items, next }: { items: readonly T[]; next: string | undefined } = await page(after)
    all.push(...items)
    if (next === undefined) return all
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
