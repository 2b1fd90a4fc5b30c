import type { MqttStore } from '../../src/bridge/mqtt-store.ts'
import type { Store } from '../../src/bridge/ports.ts'
import type { NodeRecord, PairingRequestRecord } from '../../src/domain/records.ts'
import { hashKey, hashPassword } from '../../src/kernel/secrets.ts'
import type { Role } from '../../src/protocol/names.ts'

/** The small fleet that every fixture database of test/store/fixtures holds, whatever its schema. */

/** Some time in 2026; what ends, ends in 2126. */
const AT = Date.UTC(2026, 0, 15, 12)
const UNTIL = Date.UTC(2126, 0, 15, 12)

export const LIMB = { nodeId: 'cam-1', key: 'the key of cam-1, which it signs in with' }
export const ROTATED = {
  nodeId: 'plug-1',
  key: 'the key of plug-1 until today',
  next: 'the next key of plug-1 ',
}
export const REVOKED = { nodeId: 'gone-1', key: 'the key of gone-1, which was revoked' }
export const ADA = { name: 'ada', password: 'the password of ada, an operator' }
export const AUDIT_ROWS = 6

const camera = { cap: 'camera', commands: ['camera.snap', 'camera.clip'], authLevel: 'leased' as const }
const power = { cap: 'power', commands: ['power.on', 'power.off'], authLevel: 'gated' as const }

function node(nodeId: string, changes: Partial<NodeRecord> = {}): NodeRecord {
  return {
    nodeId,
    displayName: `Limb ${nodeId} – größer als ASCII`,
    operatorName: null,
    platform: 'esp32',
    firmware: null,
    endpointUrl: null,
    registeredFrom: null,
    invoke: 'mqtt',
    capabilities: [camera],
    heartbeatSeconds: null,
    timeoutSeconds: null,
    presence: null,
    ownDescription: null,
    adapter: null,
    operatorDescription: null,
    operatorSettings: null,
    approvedAt: AT,
    approvedBy: 'ada',
    updatedAt: AT + 1,
    lastHeartbeatAt: null,
    ...changes,
  }
}

function request(
  requestId: string,
  nodeId: string,
  changes: Partial<PairingRequestRecord>,
): PairingRequestRecord {
  return {
    requestId,
    nodeId,
    kind: 'new',
    revision: 1,
    registration: { displayName: 'Asks', platform: 'linux', capabilities: [camera, power] },
    key: hashKey(`the key of ${requestId} which waits`),
    code: 'BCDFGHJK',
    address: '192.0.2.7',
    requestedAt: AT,
    expiresAt: UNTIL,
    ...changes,
  }
}

export async function fillStore(store: Store): Promise<void> {
  const passwordHash = await hashPassword(ADA.password)
  await store.transact(async (tx) => {
    await tx.putNode(
      node(LIMB.nodeId, { operatorName: 'Front door', firmware: '1.2.0', heartbeatSeconds: 20 }),
    )
    await tx.putNodeKeys(LIMB.nodeId, { current: hashKey(LIMB.key), next: null, currentUntil: null })
    await tx.putNode(
      node(ROTATED.nodeId, { invoke: 'http', endpointUrl: 'http://192.0.2.50:9090', capabilities: [power] }),
    )
    await tx.putNodeKeys(ROTATED.nodeId, {
      current: hashKey(ROTATED.key),
      next: hashKey(ROTATED.next),
      currentUntil: UNTIL,
    })
    await tx.putRequest(request('pr_new', 'new-1', {}))
    await tx.putRequest(request('pr_replace', LIMB.nodeId, { kind: 'replace', revision: 3 }))
    await tx.putRequest(request('pr_widen', ROTATED.nodeId, { kind: 'widen', key: null, code: null }))
    await tx.putRefusedKey({
      nodeId: REVOKED.nodeId,
      key: hashKey(REVOKED.key),
      why: 'rejected',
      at: 1,
      until: UNTIL,
    })
    await tx.putRefusedWidening({ nodeId: LIMB.nodeId, fingerprint: 'f'.repeat(64), at: 1, until: UNTIL })
    const roles: [string, Role][] = [
      ['admin', 'admin'],
      [ADA.name, 'operator'],
      ['claude', 'agent'],
      ['wall', 'viewer'],
    ]
    for (const [name, role] of roles) {
      await tx.putPrincipal({ name, role, passwordHash, createdAt: AT, createdBy: 'bridge' })
    }
    for (const [principal, nodeId, capability] of [
      ['claude', LIMB.nodeId, 'camera'],
      ['*', '*', 'power'],
      ['wall', '*', '*'],
    ] as const) {
      await tx.putPolicy({ principal, nodeId, capability, level: 'free', setAt: AT, setBy: 'ada' })
    }
  })
  for (let i = 0; i < AUDIT_ROWS; i++) {
    await store.transact((tx) =>
      tx.audit({
        at: AT + i,
        actor: i % 2 === 0 ? 'ada' : 'bridge',
        kind: 'pairing.approved',
        nodeId: i % 3 === 0 ? null : LIMB.nodeId,
        outcome: 'approved',
        detail: { z: i, a: ['ü', { nested: true }] },
      }),
    )
  }
  await store.saveHeartbeats([{ nodeId: LIMB.nodeId, at: AT + 5000 }])
}

export async function fillMqttStore(store: MqttStore): Promise<void> {
  const clientId = 'wall-display'
  const payload = Buffer.from([0, 1, 2, 0xff])
  await store.putSession(clientId, 'wall', AT)
  await store.putSession('cam-1', LIMB.nodeId, AT)
  await store.putSubscriptions([
    { clientId, filter: 'limb/node/+/status', qos: 1, extra: null },
    { clientId, filter: 'limb/node/+/data/#', qos: 2, extra: '{"rap":true}' },
  ])
  for (let i = 1; i <= 4; i++) {
    const topic = `limb/node/${LIMB.nodeId}/data/t${i}`
    await store.enqueue([{ clientId, qos: 2, retain: false }], {
      topic,
      payload,
      extra: null,
      brokerId: 'limb-bridge',
      brokerCounter: i,
    })
  }
  // One sent, one half-way through its handshake, one gone, so that its number must not come again.
  await store.updateQueued(clientId, 1, { messageId: 11 }, 'now')
  await store.updateQueued(clientId, 2, { messageId: 12, stage: 'pubrel' }, 'now')
  // Nobody waits for this one: it is on disk with the next write.
  const deleted = store.deleteQueued(clientId, 4)
  const message = { topic: 'limb/node/cam-1/data/image', payload, qos: 2 as const, retain: true, extra: null }
  await store.putIncoming('cam-1', 7, message)
  for (const topic of ['limb/node/cam-1/data/image', 'limb/node/cam-1/data/', 'home/größe']) {
    await store.putRetained({ ...message, topic }, { total: 100, totalBytes: 1e9, below: undefined }, 'now')
  }
  await deleted
}
