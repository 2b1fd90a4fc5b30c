/**
 * Every maximum of a payload, in one place, each with its reason. Limits that an operator may move are in the
 * configuration; these are the contract's own.
 */
export const LIMITS = {
  /** A name on a terminal line or a dashboard tile. */
  displayNameChars: 100,
  platformChars: 63,
  firmwareChars: 63,
  /** The length that browsers and proxies take as a URL. */
  urlChars: 2048,
  /** This is more kinds of ability than any robot has; it keeps a `state` below 256 KiB. */
  capabilities: 64,
  commandsPerCapability: 64,
  /** Protocol section 5. */
  heartbeatBytes: 4096,
  metrics: 64,
  metricNameChars: 63,
  /** A registration with every list full, and a third more. */
  registrationBytes: 262_144,
  /**
   * A registration that nobody has approved is small: eight capabilities with sixteen commands each, and names for
   * all.
   */
  candidateRegistrationBytes: 16_384,
  heartbeatSecondsMin: 5,
  /** A week: a sleepy device need not wake more often. */
  heartbeatSecondsMax: 604_800,
  timeoutSecondsMax: 3 * 604_800,
  /** A device's own key: shorter ones can be guessed. */
  keyCharsMin: 20,
  keyCharsMax: 256,
  passwordCharsMin: 8,
  passwordCharsMax: 256,
  /** Tokens of one principal; whoever needs more wants principals of their own. */
  tokensPerPrincipal: 64,
  tokenNameChars: 63,
  tokenDaysMax: 3650,
  transactionChars: 128,
  listDefault: 100,
  listMax: 1000,
  /** Protocol section 4: a pairing window is never longer than an hour. */
  permitSecondsMax: 3600,
  permitNodesMax: 10_000,
  /** The size of a limb's description: all commands and properties together. */
  descriptionBytes: 16_384,
  helpChars: 500,
  unitChars: 31,
  properties: 64,
  describedCommands: 256,
  propertyTopicChars: 255,
  schemaEntries: 64,
  schemaDepth: 6,
  availabilityWordChars: 64,
  /** Things that are read of foreign firmware: as many things as a limb may have properties. */
  adapterEntities: 64,
  /** Twice the description that is made of it, and what is published where. */
  adapterBytes: 65_536,
  /** Changes of status that are kept of one limb: one that flaps all day must not push out all others. */
  historyRowsPerNode: 4000,
  /**
   * Nodes in one `node/import`. All or none of them are stored in one turn of the event loop, which is 40 ms with so many and
   * a second and more with fifty thousand (docs/decisions/0014).
   */
  importNodes: 1000,
  reasonChars: 200,
  /** Protocol section 7: the arguments of a command, as JSON. */
  paramsBytes: 262_144,
  /** Protocol section 7: what a limb answers, as JSON. A picture fits; a film is an `artifactUri`. */
  resultBytes: 1_048_576,
  /** Deeper JSON overflows the stack of whoever writes it out again. */
  jsonDepth: 64,
  /** The longest time that a command may take, and that one may wait for a lease. */
  invokeSecondsMax: 3600,
  /** A week: the longest that a sleepy limb may sleep. */
  offlineWaitSecondsMax: 604_800,
  leaseSecondsMax: 3600,
  idempotencyKeyChars: 128,
  /**
   * Objects, lists and texts (keys too) of one message, ten numbers being as one: JSON.parse makes each at once, and a megabyte of empty lists took
   * a tenth of a second.
   */
  jsonParts: 25_000,
  /** The length of what a limb says went wrong, as it goes into the message of the error. */
  nodeErrorChars: 2000,
  /** Params that an approval shows whole; of longer ones it shows the beginning. */
  shownParamsBytes: 16_384,
} as const
