import type { VerbName } from '../../protocol/verbs.ts'
import type { DisplayRow } from './presentation.ts'
import { age, shown } from './text.ts'

/** Sentences about what a verb has done: what happened, what follows, and how it is taken back. */

type Sentences = (data: DisplayRow, nowMs: number) => string[]

/** `refused for a day` would be a guess: the bridge says until when, if it is new enough. */
function refusedText(until: unknown, nowMs: number): string {
  const end = age(until, nowMs)
  return end === '' ? 'for a while' : `until ${shown(until)} (${end})`
}

function forgiveText(nodeId: unknown): string {
  return `\`limb-bridge pairing forgive ${shown(nodeId)}\` lets it ask again at once.`
}

function standing(status: unknown): string {
  if (status === 'offline') return 'offline until its first heartbeat'
  return status === undefined ? 'it is offline until its first heartbeat' : `it is ${shown(status)}`
}

function windowText(window: DisplayRow | null | undefined, nowMs: number): string {
  if (window === null || window === undefined) return 'The pairing window is closed.'
  const { until, max, nodeId } = window
  const who = nodeId === undefined ? 'new limbs are' : `${shown(nodeId)} is`
  const left = max === undefined ? '' : `, ${shown(max)} more at most`
  return `The pairing window is open and closes ${age(until, nowMs)}: ${who} approved without a comparison of codes${left}.`
}

const SENTENCES: Partial<Record<VerbName, Sentences>> = {
  'pairing/approve': ({ nodeId, status }) => [`${shown(nodeId)} is approved; ${standing(status)}`],
  'pairing/reject': ({ nodeId, refusedUntil }, nowMs) => [
    `The request of ${shown(nodeId)} is rejected, and refused ${refusedText(refusedUntil, nowMs)}.`,
    forgiveText(nodeId),
  ],
  'pairing/forgive': ({ nodeId, forgiven }) => [
    forgiven === 0
      ? `Nothing of ${shown(nodeId)} was refused.`
      : `${shown(forgiven)} refusals of ${shown(nodeId)} are lifted; its devices may connect and ask again.`,
  ],
  'pairing/permit': ({ pairingWindow, approved }, nowMs) => [
    windowText(pairingWindow as DisplayRow | null | undefined, nowMs),
    ...(Array.isArray(approved) && approved.length > 0
      ? [`Approved, for they waited: ${approved.map(shown).join(', ')}.`]
      : []),
  ],
  'node/revoke': ({ nodeId, refusedUntil }, nowMs) => [
    `${shown(nodeId)} is revoked: its session has ended, and its key is refused ${refusedText(refusedUntil, nowMs)}.`,
    forgiveText(nodeId),
  ],
  'node/rename': ({ nodeId, displayName }) => [`${shown(nodeId)} is called ${shown(displayName)} now.`],
  'policy/delete': ({ principal, nodeId, capability }) => [
    `The entry ${shown(principal)} ${shown(nodeId)} ${shown(capability)} is deleted; \`limb-bridge policy explain\` says what holds now.`,
  ],
  'principal/remove': ({ name }) => [`${shown(name)} is removed, with its policies and its sessions.`],
  'principal/set-role': ({ name, role }) => [
    `${shown(name)} has the role ${shown(role)} now; its sessions have ended, its policies stay.`,
  ],
  'token/remove': ({ tokenId }) => [`The token ${shown(tokenId)} is removed; its sessions have ended.`],
  'session/forget': ({ name, clientId }) => [
    `The session ${shown(clientId)} of ${shown(name)} is forgotten, with its subscriptions and what waited for it.`,
  ],
  'lease/release': ({ leaseId }) => [`The lease ${shown(leaseId)} is given back.`],
  'invocation/cancel': ({ invocationId }) => [`${shown(invocationId)} is cancelled; it did not run.`],
}

/** Returns what happened, or undefined for a verb whose answer is what somebody asked to see. */
export function sentencesOf(verb: VerbName, data: DisplayRow, nowMs: number): string[] | undefined {
  return SENTENCES[verb]?.(data, nowMs)
}
