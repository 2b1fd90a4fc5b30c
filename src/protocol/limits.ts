/**
 * Every maximum of a payload, in one place, each with its reason. Limits that an operator may move are in the
 * configuration; these are the contract's own.
 */
export const LIMITS = {
  /** A name on a terminal line or a dashboard tile. */
  displayNameChars: 100,
  platformChars: 63,
  firmwareChars: 63,
  /** What browsers and proxies take as a URL. */
  urlChars: 2048,
  /** More kinds of ability than any robot has; keeps a `state` below 256 KiB. */
  capabilities: 64,
  commandsPerCapability: 64,
  /** Protocol section 5. */
  heartbeatBytes: 4096,
  metrics: 64,
  metricNameChars: 63,
  /** A registration with every list full, and a third more. */
  registrationBytes: 262_144,
  heartbeatSecondsMin: 5,
  heartbeatSecondsMax: 3600,
  /** A device's own key: shorter ones can be guessed. */
  keyCharsMin: 20,
  keyCharsMax: 256,
  passwordCharsMin: 8,
  passwordCharsMax: 256,
  transactionChars: 128,
  listDefault: 100,
  listMax: 1000,
  /** Protocol section 4: a pairing window is never longer than an hour. */
  permitSecondsMax: 3600,
  permitNodesMax: 10_000,
  /** Nodes in one `node/import`; some 10 MiB of JSON. */
  importNodes: 50_000,
} as const
