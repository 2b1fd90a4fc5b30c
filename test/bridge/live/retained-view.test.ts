import { describe, expect, it } from 'vitest'
import { PendingApprovals } from '../../../src/bridge/invocation/approvals.ts'
import type { Announcer } from '../../../src/bridge/live/announcer.ts'
import { PendingPairingRequests } from '../../../src/bridge/live/pending.ts'
import { type LiveLimb, Registry } from '../../../src/bridge/live/registry.ts'
import { createView } from '../../../src/bridge/live/retained-view.ts'
import { provisionedNode } from '../../../src/domain/pairing.ts'
import { newPresence } from '../../../src/domain/presence.ts'
import { systemClock } from '../../../src/kernel/clock.ts'
import { RunningClock } from '../../../src/kernel/running-clock.ts'
import { presenceRule } from '../../../src/protocol/presence.ts'
import { filterMatches, topicsOf } from '../../../src/protocol/topics.ts'

/** The part of the announcer that the view reads. */
const announcer = {
  bridgeStatus: 'online',
  info: () => ({ version: '1', protocol: 1, startedAt: 'x', nodes: { approved: 2, online: 0, pending: 1 } }),
} as unknown as Announcer

function viewOf(root: string) {
  const topics = topicsOf(root)
  const registry = new Registry()
  const running = new RunningClock(systemClock)
  for (const nodeId of ['cam1', 'cam2']) {
    const limb = {
      ...newPresence('approved', running.steady.now(), 1000, presenceRule(undefined), undefined),
      record: provisionedNode({ nodeId }, 'admin', 0),
    } as LiveLimb
    registry.add(limb)
  }
  const pending = new PendingPairingRequests(running)
  pending.put({
    requestId: 'pr_1',
    nodeId: 'cam3',
    kind: 'new',
    revision: 1,
    registration: { displayName: 'x', platform: 'y', capabilities: [] },
    key: null,
    code: 'BBBBBBBB',
    address: '::1',
    requestedAt: 0,
    expiresAt: 1,
  })
  return createView(topics, registry, pending, new PendingApprovals(), announcer, running.steady)
}

describe('the retained view', () => {
  const all = [
    'bridge/status',
    'bridge/info',
    'bridge/pairing/pr_1',
    'node/cam1/status',
    'node/cam1/state',
    'node/cam1/description',
    'node/cam2/status',
    'node/cam2/state',
    'node/cam2/description',
  ]

  it.each(['limb', 'site1/limb'])('gives exactly what a scan of all messages would, below %s', (root) => {
    const view = viewOf(root)
    const below = [
      ...all,
      ...'# + +/# +/+ bridge/# bridge/+ bridge/pairing/+ bridge/pairing/pr_2 node/# node/+ node/+/# node/+/status node/+/state node/+/+ node/cam1/# node/cam1/+ node/cam9/status node/+/data/# +/cam1/status +/+/status +/+/# +/status node/cam1/status/# node//status'.split(
        ' ',
      ),
    ]
    const filters = [
      '#',
      '+',
      '+/#',
      '+/+/#',
      '+/+/+/status',
      '',
      '/',
      root,
      `${root}/`,
      'other/#',
      ...below.map((rest) => `${root}/${rest}`),
    ]
    for (const filter of filters) {
      const expected = all.map((rest) => `${root}/${rest}`).filter((topic) => filterMatches(filter, topic))
      expect([...view.match(filter)].map((message) => message.topic).sort(), filter).toEqual(expected.sort())
    }
  })

  it('owns status, state and everything of the bridge, and no telemetry', () => {
    const view = viewOf('limb')
    expect(all.every((rest) => view.owns(`limb/${rest}`))).toBe(true)
    expect(view.owns('limb/node/cam1/data/status')).toBe(false)
    expect(view.owns('homeassistant/status')).toBe(false)
  })
})
