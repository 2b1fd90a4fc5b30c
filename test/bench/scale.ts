/** How much each line does. */
export interface Scale {
  readonly fleets: readonly number[]
  /** Heartbeats in one round: more than a second of CPU, so that a tick of 10 ms is below a percent. */
  readonly heartbeats: number
  readonly pairs: number
  /** Limbs that publish, and messages in one round. */
  readonly publishers: number
  readonly messages: number
  /** New limbs that register, and are approved. */
  readonly newLimbs: number
  /** Limbs that come back after a restart, and those that do so in one round of the cost of each. */
  readonly returning: number
  readonly returningEach: number
  readonly restarts: readonly { readonly nodes: number; readonly goalMs: number }[]
  readonly retainedNodes: number
  readonly exactSubscriptions: number
  readonly connectedLimbs: number
  /** Turns of fifty calls each. */
  readonly callSlices: number
  /** Calls that count for their rate. */
  readonly callsAtOnce: number
  readonly policies: number
  readonly policiesInUse: number
  readonly decisions: number
}

export const FULL: Scale = {
  fleets: [1000, 10_000],
  heartbeats: 100_000,
  pairs: 5,
  publishers: 100,
  messages: 30_000,
  newLimbs: 5000,
  returning: 10_000,
  returningEach: 2000,
  restarts: [
    { nodes: 10_000, goalMs: 1000 },
    { nodes: 200_000, goalMs: 5000 },
    { nodes: 1_000_000, goalMs: 3000 },
  ],
  retainedNodes: 200_000,
  exactSubscriptions: 5000,
  connectedLimbs: 10_000,
  callSlices: 100,
  callsAtOnce: 10_000,
  policies: 1_000_000,
  policiesInUse: 10_000,
  decisions: 100_000,
}

/** Shows that everything runs; its numbers mean nothing. */
export const QUICK: Scale = {
  fleets: [50],
  heartbeats: 2000,
  pairs: 1,
  publishers: 20,
  messages: 500,
  newLimbs: 50,
  returning: 50,
  returningEach: 50,
  restarts: [{ nodes: 500, goalMs: 1000 }],
  retainedNodes: 500,
  exactSubscriptions: 50,
  connectedLimbs: 50,
  callSlices: 2,
  callsAtOnce: 100,
  policies: 1000,
  policiesInUse: 100,
  decisions: 1000,
}
