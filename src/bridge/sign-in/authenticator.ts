import { currentKeyHolds } from '../../domain/pairing.ts'
import type { NodeKeys, PrincipalRecord } from '../../domain/records.ts'
import { addressGroup } from '../../kernel/address.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { certifiedKey, isCertifiedKey, keyMatches } from '../../kernel/secrets.ts'
import { isToken, resemblesToken } from '../../kernel/token.ts'
import { isName, NAME_HINT, ROLES, type Role } from '../../protocol/names.ts'
import { audit } from '../audit.ts'
import type { Registry } from '../live/registry.ts'
import type { Authentication, Credentials, ReadTx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import { type ShutOut, SignInLimits } from './limits.ts'
import { PasswordChecks } from './password-checks.ts'
import { hiddenName, isShown, type RefusalReason, type RefusedSignIns } from './refusals.ts'
import type { Tokens } from './tokens.ts'
import type { VerifiedPasswords } from './verified-passwords.ts'

/** Wrong keys are told so often for each limb and address: a device that lost its key comes back every few seconds. */
const WRONG_KEYS = { quietMs: 60_000, lines: 1, maxKeys: 500, maxLines: 200 } as const

/** Characters of a common name that the log shows. */
const MAX_SHOWN_NAME = 64

/** Stands for the name of whoever sends a token that is none; no principal can be named so. */
const NOBODY = '-'

const BUSY: Authentication = {
  admitted: false,
  code: 3,
  reason: 'too many sign-ins at once; try again in a few seconds',
}

type PrincipalWithPassword = Pick<PrincipalRecord, 'name' | 'role' | 'passwordHash'>

const TOKEN_NAME = 'a token is no user name'
const EXCHANGED = 'user name and password may be exchanged'

/** Decides who may come in, and as whom (protocol section 3). */
export class Authenticator {
  readonly #context: BridgeContext
  readonly #registry: Registry
  readonly #refusedSignIns: RefusedSignIns
  readonly #tokens: Tokens
  readonly #limits: SignInLimits
  readonly #wrongKeys: LogThrottle
  readonly #passwords: PasswordChecks
  readonly #idleCertificates: LogThrottle

  constructor(
    context: BridgeContext,
    registry: Registry,
    refusedSignIns: RefusedSignIns,
    tokens: Tokens,
    verified: VerifiedPasswords,
  ) {
    this.#passwords = new PasswordChecks(verified)
    this.#registry = registry
    this.#tokens = tokens
    this.#context = context
    this.#refusedSignIns = refusedSignIns
    this.#wrongKeys = new LogThrottle(context.clock, WRONG_KEYS)
    this.#idleCertificates = new LogThrottle(context.clock, WRONG_KEYS)
    this.#limits = new SignInLimits(context.clock, context.settings.signIn, (known) => {
      context.store.saveKnownAddress(known).catch((error: unknown) => {
        context.log.debug({ error: messageOf(error) }, 'the address of a sign-in was not stored')
      })
    })
  }

  /** Takes in where principals signed in from before the start: guesses from elsewhere shut nobody out there. */
  async load(): Promise<void> {
    for (const known of await this.#context.store.knownAddresses()) this.#limits.knows(known)
  }

  /** A store that does not answer refuses nobody for good: code 3, come back later. */
  async admit(credentials: Credentials): Promise<Authentication> {
    try {
      return await this.#decide(credentials)
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'storage_unavailable') throw error
      return { admitted: false, code: 3, reason: error.message, unavailable: true }
    }
  }

  async #decide(credentials: Credentials): Promise<Authentication> {
    if (credentials.local) return await this.#admitLocal(credentials)
    if (credentials.passwordIsBinary) return this.#notText(credentials)
    // What is sent as a bearer token is nothing else: nobody is guessed at, or shut out, who has no part in it.
    if (credentials.isBearer || (credentials.password !== undefined && isToken(credentials.password))) {
      return await this.#admitToken(credentials, credentials.password ?? '')
    }
    this.#idleCertificate(credentials)
    const certified = certifiedName(credentials)
    const name = certified ?? credentials.username ?? credentials.clientId
    if (!isName(name)) {
      const code = credentials.username === undefined ? 2 : 4
      const reason = `the user name (else the client id) must be ${NAME_HINT}`
      return this.#refused(hiddenName(name), withoutName(credentials), code, reason, 'name')
    }
    if (resemblesToken(name)) {
      const reason = `${TOKEN_NAME}; send it as the password, with the name of its principal or with none`
      return this.#refused(hiddenName(name), withoutName(credentials), 4, reason, 'name')
    }
    const { rotations } = this.#registry
    const keys = await this.#context.store.read((tx) => tx.nodeKeys(name))
    if (keys?.next === null) this.#registry.keysSeen(name, rotations)
    const password = credentials.password || (certified === undefined ? undefined : certifiedKey(certified))
    const isKey = !isCertifiedKey(credentials.password)
    // No limb and principal have one name, and most who come are limbs: each costs one look at the store.
    if (keys && isKey && (certified !== undefined || this.#isCurrentKey(keys, password))) {
      return { admitted: true, identity: { kind: 'limb', nodeId: name } }
    }
    const { principal, refused } = await this.#context.store.read((tx) => this.#known(tx, name))
    if (principal) return await this.#admitPrincipal(principal, credentials)

    if (!isKey) {
      return this.#refused(name, credentials, 4, 'this is no key; sign in with the certificate', 'key')
    }
    if (password !== undefined && keys?.next && keyMatches(keys.next, password)) {
      // What became of its keys in that moment decides about it anew.
      return (await this.#firstUse(name, password)) ?? (await this.#decide(credentials))
    }
    if (password !== undefined && refused.some((entry) => keyMatches(entry.key, password))) {
      const reason = 'this key was rejected or revoked; wait, or connect with another key'
      return this.#refused(name, credentials, 5, reason, 'key')
    }
    const exchanged = keys ? undefined : await this.#exchanged(name, password)
    if (exchanged !== undefined) {
      // The name may be the password.
      return this.#refused(hiddenName(name), withoutName(credentials), 4, exchanged, 'name')
    }
    // A device that lost its key, or somebody who guesses.
    if (password !== undefined && keys) this.#wrongKey(name, credentials)
    return { admitted: true, identity: { kind: 'candidate', nodeId: name, key: password } }
  }

  /** A right one is let in whatever others have guessed: nobody can guess it. A wrong one counts as a wrong password. */
  async #admitToken(credentials: Credentials, text: string): Promise<Authentication> {
    const { username, address } = credentials
    const identity = await this.#context.store.read((tx) => this.#tokens.identify(tx, text, username))
    if (identity !== undefined) {
      this.#tokens.used(identity.tokenId, address)
      return { admitted: true, identity }
    }
    // Only the name of a principal is told: another one may be a password in the wrong field.
    const isKnown = username !== undefined && isShown(username) && (await this.#isPrincipal(username))
    const name = isKnown ? username : NOBODY
    const early = this.#tooEarly(name, credentials)
    if (early) return early
    for (const begun of this.#limits.failed(name, address)) {
      this.#refusedSignIns.shutOut(name, credentials, shutOutText(begun, name, address))
    }
    return this.#refused(
      name,
      credentials,
      4,
      'no such token; it was removed, has ended, or is of another principal',
      'password',
    )
  }

  /** Keys and passwords are text: as bytes, none could be typed, stored or compared. */
  #notText(credentials: Credentials): Authentication {
    const name = credentials.username ?? credentials.clientId
    const reason =
      'the password is not UTF-8; send a key or password as text, such as raw bytes in hexadecimal'
    return isShown(name)
      ? this.#refused(name, credentials, 4, reason, 'password')
      : this.#refused(hiddenName(name), withoutName(credentials), 4, reason, 'password')
  }

  /**
   * Admits to the control socket, whose file mode is the protection; without a name one acts as `admin`. A program
   * that should do less says so with the password `role:agent`, and the bridge holds it to that. Nobody acts under
   * the name of a limb: the audit log could not tell the two apart.
   */
  async #admitLocal({ username, password, passwordIsBinary }: Credentials): Promise<Authentication> {
    const name = username || 'admin'
    const refused = (reason: string): Authentication => ({ admitted: false, code: 4, reason })
    if (!isName(name)) return refused(`the user name must be ${NAME_HINT}`)
    if (resemblesToken(name)) return refused(`${TOKEN_NAME}; the control socket needs none`)
    const role = password ? localRole(password) : 'admin'
    // A slip must not make an admin of what wanted to be less.
    if (role === undefined)
      return refused(
        `the control socket takes no password but role: and a role (${ROLES.join(', ')}), such as role:agent`,
      )
    if (passwordIsBinary) return refused('the control socket takes no password that is not text')
    // Of memory: whoever looks after a bridge must get in while its database does not answer.
    if (this.#registry.get(name)) return refused(`${name} is a limb; choose another user name`)
    return { admitted: true, identity: { kind: 'principal', name, role, local: true } }
  }

  #wrongKey(nodeId: string, { address }: Credentials): void {
    this.#context.counters.count('wrong_keys')
    this.#wrongKeys.write(JSON.stringify([nodeId, addressGroup(address)]), (suppressed) =>
      this.#context.log.warn(
        { nodeId, address, suppressed },
        `${nodeId} connected from ${address} with another key than the approved one; if the device lost its key, ` +
          'approve its request (limb-bridge pairing list), else somebody uses its name',
      ),
    )
  }

  /** Tells of a certificate that was believed and stands for nobody: whoever made it means to be let in by it. */
  #idleCertificate({ certificateName, username, address }: Credentials): void {
    const standsForLimb: boolean = isName(certificateName)
    if (certificateName === undefined || standsForLimb) return
    const shown = certificateName === '' ? '' : escapeText(certificateName.slice(0, MAX_SHOWN_NAME))
    const whose =
      shown === '' ? 'has no common name, or several' : `has the common name ${JSON.stringify(shown)}`
    this.#idleCertificates.write(JSON.stringify([addressGroup(address), shown]), (suppressed) =>
      this.#context.log.warn(
        { address, username, certificateName: shown, suppressed },
        `the client certificate from ${address} ${whose}, which is no nodeId: it opens the door and stands for no limb, so ` +
          `that the device needs a user name and a key. Issue it for a nodeId (${NAME_HINT})`,
      ),
    )
  }

  stop(): void {
    this.#idleCertificates.stop()
    this.#wrongKeys.stop()
  }

  async #known(tx: ReadTx, name: string) {
    const reads = [tx.principal(name), tx.refusedKeys(name, this.#context.running.now())] as const
    const [principal, refused] = await Promise.all(reads)
    return { principal, refused }
  }

  /**
   * Says why the user name of a candidate may be a secret; undefined: it is none that is known. Of a limb's name as the password it
   * is said to nobody but who has its key: else a stranger could find out which limbs there are.
   */
  async #exchanged(name: string, password: string | undefined): Promise<string | undefined> {
    if (password === undefined || password === name) return undefined
    if (resemblesToken(password))
      return 'the password begins like a token, and is none: it may be mistyped or cut'
    if (!isName(password)) return undefined
    if (await this.#isPrincipal(password)) return `the password is the name of a principal; ${EXCHANGED}`
    const keys = await this.#context.store.read((tx) => tx.nodeKeys(password))
    const isKey = [keys?.current, keys?.next].some((key) => key && keyMatches(key, name))
    return isKey ? `the user name is the key of the limb that the password names; ${EXCHANGED}` : undefined
  }

  async #isPrincipal(text: string | undefined): Promise<boolean> {
    if (!isName(text)) return false
    return (await this.#context.store.read((tx) => tx.principal(text))) !== null
  }

  #isCurrentKey(keys: NodeKeys, password: string | undefined): boolean {
    if (password === undefined || !keyMatches(keys.current, password)) return false
    return currentKeyHolds(keys, this.#context.running.now())
  }

  /** The device has got its new key: the old one ends. Undefined when it is not its new key any more. */
  async #firstUse(nodeId: string, password: string): Promise<Authentication | undefined> {
    const taken = this.#context.store.transact(async (tx) => {
      // As it is now: the limb may have been revoked, or its key replaced or rotated again.
      const next = (await tx.nodeKeys(nodeId))?.next
      if (!next || !keyMatches(next, password)) return false
      await tx.putNodeKeys(nodeId, { current: next, next: null, currentUntil: null })
      await tx.audit(audit(this.#context, 'node.key_taken', { actor: nodeId, nodeId }))
      return true
    })
    try {
      if (!(await taken)) return undefined
    } catch (error) {
      // On a full disk the limb comes in all the same; the old key ends at the next sign-in, or by its time.
      this.#context.log.warn(
        { nodeId, error: messageOf(error) },
        `${nodeId} uses its new key; not stored yet`,
      )
    }
    return { admitted: true, identity: { kind: 'limb', nodeId } }
  }

  async #admitPrincipal(
    { name, role, passwordHash }: PrincipalWithPassword,
    credentials: Credentials,
  ): Promise<Authentication> {
    const early = this.#tooEarly(name, credentials)
    if (early) return early
    const { address, password, isGone } = credentials
    const check = { name, passwordHash, password: password ?? '', address, isGone: isGone ?? (() => false) }
    const outcome = await this.#passwords.check(check)
    if (outcome === 'gone' || outcome === 'busy') return BUSY
    // Many at once: those before may have used up the guesses.
    const late = this.#tooEarly(name, credentials)
    if (late) return late
    if (outcome === 'wrong') return this.#wrongPassword(name, credentials)
    this.#limits.succeeded(name, address)
    return { admitted: true, identity: { kind: 'principal', name, role, local: false } }
  }

  #wrongPassword(name: string, credentials: Credentials): Authentication {
    for (const begun of this.#limits.failed(name, credentials.address)) {
      this.#refusedSignIns.shutOut(name, credentials, shutOutText(begun, name, credentials.address))
    }
    return this.#refused(name, credentials, 4, 'wrong password', 'password')
  }

  /** Code 3, come back later: whether the password is right was not looked at. */
  #tooEarly(name: string, credentials: Credentials): Authentication | undefined {
    const wait = this.#limits.waitMs(name, credentials.address)
    if (wait === 0) return undefined
    const reason = `too many wrong passwords; wait ${Math.ceil(wait / 1000)} s`
    return this.#refused(name, credentials, 3, reason, 'too_many')
  }

  #refused(
    name: string,
    credentials: Credentials,
    code: 2 | 3 | 4 | 5,
    reason: string,
    why: RefusalReason,
  ): Authentication {
    this.#refusedSignIns.record(name, credentials, reason, why)
    return { admitted: false, code, reason }
  }
}

function shutOutText({ whom, failures, seconds }: ShutOut, name: string, address: string): string {
  const who = {
    'name at address': `${name} from ${address}`,
    address: `every principal that signs in from ${address}`,
    name: `${name}, except where it has signed in before,`,
  }[whom]
  const settings = 'mqtt.maxFailedSignIns, mqtt.failedSignInSeconds'
  return `${who} is shut out for ${seconds} s after ${failures} wrong passwords (${settings})`
}

/**
 * A certificate stands for its name alone. Under another user name it only opened the door of a listener that
 * wants one, and so it does when its name cannot be a limb's.
 */
function certifiedName({ certificateName, username }: Credentials): string | undefined {
  const own = username === undefined || username === certificateName
  return own && isName(certificateName) ? certificateName : undefined
}

function localRole(password: string): Role | undefined {
  return ROLES.find((known) => password === `role:${known}`)
}

/** A client that gives no user name gives its client id in its place. */
function withoutName(credentials: Credentials): Credentials {
  const { username, clientId } = credentials
  return username === undefined || username === clientId
    ? { ...credentials, clientId: hiddenName(clientId) }
    : credentials
}
