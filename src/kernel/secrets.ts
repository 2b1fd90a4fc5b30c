import { createHash, createHmac, hash as hashOnce, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

/** A salted SHA-256 of a device key. Enough for keys of high entropy, and cheap when ten thousand limbs reconnect. */
export interface KeyHash {
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

const SALT_BYTES = 16

function digest(salt: Uint8Array, key: string): Uint8Array {
  return hashOnce('sha256', Buffer.concat([salt, Buffer.from(key)]), 'buffer')
}

export function hashKey(key: string): KeyHash {
  return hashKeyWith(randomBytes(SALT_BYTES), key)
}

export function hashKeyWith(salt: Uint8Array, key: string): KeyHash {
  return { salt, hash: digest(salt, key) }
}

/** Constant time in the key. */
export function keyMatches(stored: KeyHash, key: string): boolean {
  return timingSafeEqual(stored.hash, digest(stored.salt, key))
}

/** A new device key: 256 random bits, 43 characters of base64url. */
export function newKey(): string {
  return randomBytes(32).toString('base64url')
}

/** A password a person may have to type: 20 letters and digits without look-alikes, some 116 bits. */
export function newPassword(): string {
  return randomLetters('abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789', 20)
}

/** An id that sorts by nothing and can be guessed by nobody: `prefix` and 16 characters of base32. */
export function newId(prefix: string): string {
  return prefix + randomLetters('abcdefghijklmnopqrstuvwxyz234567', 16)
}

/** Letters in the order of their codes, so that ids sort as their times do. */
const RISING = '234567abcdefghijklmnopqrstuvwxyz'
/** The number of base32 letters for milliseconds until the year 3084. */
const TIME_LETTERS = 9

/**
 * An id that nobody can guess and that rises with time, for rows of which there are many: in an index they stand where
 * the ones before them were put, so that a write touches one page and not one for each.
 */
export function newSortableId(prefix: string, wallMs: number): string {
  let time = ''
  for (let left = Math.max(0, wallMs); time.length < TIME_LETTERS; left = Math.floor(left / 32)) {
    time = RISING.charAt(left % 32) + time
  }
  return newId(prefix + time)
}

/** Random bytes drawn ahead: a call of the generator costs as much for 4096 bytes as for 32. */
let pool = Buffer.alloc(0)

function randomFew(count: number): Buffer {
  if (pool.length < count) pool = randomBytes(Math.max(4096, count))
  const taken = pool.subarray(0, count)
  pool = pool.subarray(count)
  return taken
}

function randomLetters(alphabet: string, length: number): string {
  let text = ''
  // Bytes at or above the largest multiple of the alphabet would favour its first letters.
  const fair = 256 - (256 % alphabet.length)
  while (text.length < length) {
    for (const byte of randomFew(length * 2)) {
      if (byte < fair && text.length < length) text += alphabet[byte % alphabet.length]
    }
  }
  return text
}

/** The letters of a pairing code: no vowels (no words), no look-alikes. */
const CODE_LETTERS = 'BCDFGHJKLMNPQRSTVWXZ'

/**
 * The code that the device shows and the operator compares: eight letters from nodeId and key hash. The salt
 * is the bridge's, so that nobody can search for a key with the code of another.
 */
export function pairingCode(nodeId: string, key: KeyHash): string {
  const bytes = createHash('sha256')
    .update('limb-pairing-code\0')
    .update(nodeId)
    .update('\0')
    .update(key.hash)
    .digest()
  let value = bytes.readBigUInt64BE(0)
  let code = ''
  for (let i = 0; i < 8; i++) {
    code += CODE_LETTERS[Number(value % 20n)]
    value /= 20n
  }
  return code
}

/** The cost of a new password's hash: N = 2^15, some 32 MiB and 60 ms, OWASP's floor for interactive sign-in. */
export const PASSWORD_COST = 15
const SCRYPT = { blockSize: 8, parallelization: 1 } as const
const SCRYPT_BYTES = 32

function derive(
  password: string,
  salt: Uint8Array,
  cost: number,
  blockSize: number,
  parallelization: number,
  bytes: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(
      password.normalize('NFC'),
      salt,
      bytes,
      { N: cost, r: blockSize, p: parallelization, maxmem: 256 * cost * blockSize },
      (error, derived) => (error ? reject(error) : resolve(derived)),
    )
  })
}

/**
 * A password's hash in PHC form: `$scrypt$ln=15,r=8,p=1$<salt>$<hash>`. Runs on the thread pool. The cost is the base-2
 * logarithm of scrypt's N.
 */
export async function hashPassword(password: string, cost: number = PASSWORD_COST): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await derive(password, salt, 2 ** cost, SCRYPT.blockSize, SCRYPT.parallelization, SCRYPT_BYTES)
  const unpadded = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '')
  return `$scrypt$ln=${cost},r=${SCRYPT.blockSize},p=${SCRYPT.parallelization}$${unpadded(salt)}$${unpadded(hash)}`
}

const PHC =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{16,64})\$([A-Za-z0-9+/]{32,128})$/

export function isPasswordHash(text: string): boolean {
  return PHC.test(text)
}

/** Constant time in the password; false for a hash that is not in PHC form. */
export async function passwordMatches(stored: string, password: string): Promise<boolean> {
  const match = PHC.exec(stored)
  if (!match) return false
  const [, ln, r, p, salt = '', hash = ''] = match
  const expected = Buffer.from(hash, 'base64')
  const derived = await derive(
    password,
    Buffer.from(salt, 'base64'),
    2 ** Number(ln),
    Number(r),
    Number(p),
    expected.length,
  )
  return timingSafeEqual(expected, derived)
}

/** SHA-256 as lower-case hexadecimal. */
export function sha256Hex(text: string | Uint8Array): string {
  return hashOnce('sha256', text, 'hex')
}

/** A verified name is as good as a key, so it has one. No password that begins like this is taken for a key. */
const CERTIFIED = 'client certificate of '

/** Makes the key of a device that has shown a certificate instead; it is refused with a revoked limb as any key is. */
export function certifiedKey(name: string): string {
  return CERTIFIED + name
}

/** Tells whether a password passes itself off as the key of a certificate. */
export function isCertifiedKey(password: string | undefined): boolean {
  return password?.startsWith(CERTIFIED) === true
}

/** Returns a key that is the same whenever it is made of the same secret and names, and nobody can guess. */
export function derivedKey(master: Uint8Array, ...names: readonly string[]): string {
  const hmac = createHmac('sha256', master)
  for (const name of names) hmac.update(`${name}\0`)
  return hmac.digest('base64url')
}
