import { type KeyHash, keyMatches, passwordMatches } from '../kernel/secrets.ts'
import { isName, NAME_HINT } from '../protocol/names.ts'
import type { Admission, Credentials, ReadTx } from './ports.ts'
import type { RefusedSignIns } from './refused-sign-ins.ts'
import type { World } from './settings.ts'

/** Password hashes computed at once; each takes some 32 MiB for some 60 ms of a core. */
const MAX_HASHING = 2
/** Sign-ins that may wait for a hash; beyond, the client is told to come back (code 3). */
const MAX_WAITING = 64

/** Who may come in, and as whom (protocol section 3). */
export class Gate {
  readonly #world: World
  readonly #refusedSignIns: RefusedSignIns
  #hashing = 0
  readonly #waiting: (() => void)[] = []

  constructor(world: World, refusedSignIns: RefusedSignIns) {
    this.#world = world
    this.#refusedSignIns = refusedSignIns
  }

  async admit(credentials: Credentials): Promise<Admission> {
    if (credentials.local) return admitLocal(credentials)
    const name = credentials.certificateName ?? credentials.username ?? credentials.clientId
    if (!isName(name)) {
      const code = credentials.username === undefined ? 2 : 4
      return this.#refused(name, credentials, code, `the user name (else the client id) must be ${NAME_HINT}`)
    }
    const { principal, keys, refused } = await this.#world.store.read(
      async (tx) => await this.#known(tx, name),
    )
    if (principal) return await this.#admitPrincipal(principal, credentials)

    const password = credentials.password || null
    if (keys && credentials.certificateName === name)
      return { admitted: true, identity: { kind: 'limb', nodeId: name } }
    if (password !== null && keys) {
      const expired = keys.currentUntil !== null && keys.currentUntil <= this.#world.clock.wallMs()
      if (keyMatches(keys.current, password) && !expired) {
        return { admitted: true, identity: { kind: 'limb', nodeId: name } }
      }
      if (keys.next && keyMatches(keys.next, password)) return await this.#firstUse(name, keys.next)
    }
    if (password !== null && refused.some((entry) => keyMatches(entry.key, password))) {
      return this.#refused(
        name,
        credentials,
        5,
        'this key was rejected or revoked; wait, or connect with another key',
      )
    }
    return { admitted: true, identity: { kind: 'candidate', nodeId: name, key: password } }
  }

  async #known(tx: ReadTx, name: string) {
    return {
      principal: await tx.principal(name),
      keys: await tx.nodeKeys(name),
      refused: await tx.refusedKeys(name, this.#world.clock.wallMs()),
    }
  }

  /** The device has got its new key: the old one ends. */
  async #firstUse(nodeId: string, key: KeyHash): Promise<Admission> {
    await this.#world.store.transact(async (tx) => {
      await tx.putNodeKeys(nodeId, { current: key, next: null, currentUntil: null })
      await tx.audit({
        at: this.#world.clock.wallMs(),
        actor: nodeId,
        kind: 'node.key_taken',
        nodeId,
        outcome: 'stored',
        detail: {},
      })
    })
    return { admitted: true, identity: { kind: 'limb', nodeId } }
  }

  async #admitPrincipal(
    principal: { name: string; role: 'viewer' | 'agent' | 'operator' | 'admin'; passwordHash: string },
    credentials: Credentials,
  ): Promise<Admission> {
    const { name, role } = principal
    if (!(await this.#enterHashing())) {
      return { admitted: false, code: 3, reason: 'too many sign-ins at once; try again in a few seconds' }
    }
    try {
      const right = await passwordMatches(principal.passwordHash, credentials.password ?? '')
      if (right) return { admitted: true, identity: { kind: 'principal', name, role, local: false } }
    } finally {
      this.#leaveHashing()
    }
    return this.#refused(name, credentials, 4, 'wrong password')
  }

  async #enterHashing(): Promise<boolean> {
    if (this.#hashing < MAX_HASHING) {
      this.#hashing++
      return true
    }
    if (this.#waiting.length >= MAX_WAITING) return false
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
    return true
  }

  #leaveHashing(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#hashing--
  }

  #refused(name: string, credentials: Credentials, code: 2 | 4 | 5, reason: string): Admission {
    this.#refusedSignIns.record(name, credentials, reason)
    return { admitted: false, code, reason }
  }
}

/** The mode of the socket's file is the protection; without a name one acts as `admin`. */
function admitLocal(credentials: Credentials): Admission {
  const name = credentials.username ?? 'admin'
  if (!isName(name)) return { admitted: false, code: 4, reason: `the user name must be ${NAME_HINT}` }
  return { admitted: true, identity: { kind: 'principal', name, role: 'admin', local: true } }
}
