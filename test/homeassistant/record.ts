import type { NodeRecord } from '../../src/domain/records.ts'

/** The row of an approved limb without anything special. */
export function nodeRecord(more: Partial<NodeRecord> = {}): NodeRecord {
  return {
    nodeId: 'cam1',
    displayName: 'Camera',
    operatorName: null,
    platform: 'esp32',
    firmware: null,
    endpointUrl: null,
    registeredFrom: null,
    invoke: 'mqtt',
    capabilities: [],
    heartbeatSeconds: null,
    timeoutSeconds: null,
    presence: null,
    ownDescription: null,
    adapter: null,
    operatorDescription: null,
    operatorSettings: null,
    approvedAt: 0,
    approvedBy: 'admin',
    updatedAt: 0,
    lastHeartbeatAt: null,
    ...more,
  }
}
