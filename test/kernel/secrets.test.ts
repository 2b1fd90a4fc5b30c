import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  hashKey,
  hashPassword,
  isPasswordHash,
  keyMatches,
  newId,
  newKey,
  newPassword,
  newSortableId,
  pairingCode,
  passwordMatches,
  sha256Hex,
} from '../../src/kernel/secrets.ts'

const CODE = /^[BCDFGHJKLMNPQRSTVWXZ]{8}$/
const samples = <T>(count: number, make: () => T) => Array.from({ length: count }, make)

describe('a device key', () => {
  it('matches its own hash and no other key', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (key, other) => {
        const stored = hashKey(key)
        expect(keyMatches(stored, key)).toBe(true)
        expect(keyMatches(stored, other)).toBe(other === key)
      }),
    )
  })

  it('has another salt and another hash each time', () => {
    const hashes = samples(50, () => Buffer.from(hashKey('the same key').hash).toString('hex'))
    expect(new Set(hashes).size).toBe(50)
    expect(hashKey('x').salt).toHaveLength(16)
    expect(hashKey('x').hash).toHaveLength(32)
  })

  it('is not in its hash', () => {
    const { salt, hash } = hashKey('front-camera-key-0123456789')
    expect(Buffer.concat([salt, hash]).includes('front-camera')).toBe(false)
  })

  it('made by the bridge has 256 bits in characters that every MQTT client can send', () => {
    const keys = samples(200, newKey)
    expect(new Set(keys).size).toBe(200)
    for (const key of keys) expect(key).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(Buffer.from(keys[0] ?? '', 'base64url')).toHaveLength(32)
  })
})

describe('a made password', () => {
  it('has 20 letters and digits and none that looks like another', () => {
    const passwords = samples(200, newPassword)
    expect(new Set(passwords).size).toBe(200)
    for (const password of passwords) expect(password).toMatch(/^[a-km-np-zA-HJ-NP-Z2-9]{20}$/)
  })

  it('uses every letter of its alphabet about as often as any other', () => {
    const count = new Map<string, number>()
    for (const letter of samples(20_000, newPassword).join('')) {
      count.set(letter, (count.get(letter) ?? 0) + 1)
    }
    expect(count.size).toBe(56)
    // 400,000 letters, some 7143 of each, standard deviation 84: six of them is hardly chance, and a plain
    // `byte % 56` would be off by eight.
    for (const times of count.values()) expect(Math.abs(times - 400_000 / 56)).toBeLessThan(6 * 84)
  })
})

describe('an id', () => {
  it('is its prefix and 16 letters that fit a topic level and a file name', () => {
    const ids = samples(500, () => newId('pr_'))
    expect(new Set(ids).size).toBe(500)
    for (const id of ids) expect(id).toMatch(/^pr_[a-z2-7]{16}$/)
  })

  it('that rises sorts as its time does, at any time, and is never the same twice', () => {
    const times = fc.integer({ min: 0, max: 32 ** 9 - 1 })
    fc.assert(
      fc.property(times, times, (a, b) => {
        const [one, two] = [newSortableId('iv_', a), newSortableId('iv_', b)]
        expect(one).toMatch(/^iv_[a-z2-7]{25}$/)
        if (a !== b) expect(one < two).toBe(a < b)
      }),
    )
    expect(new Set(samples(500, () => newSortableId('iv_', 1))).size).toBe(500)
    // A wall clock that nobody has set.
    expect(newSortableId('iv_', -1)).toMatch(/^iv_2{9}/)
  })
})

describe('a pairing code', () => {
  it('is eight letters that make no word and have no look-alike', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), (nodeId, key) => {
        expect(pairingCode(nodeId, hashKey(key))).toMatch(CODE)
      }),
    )
  })

  it('stays the same for the same node and hash, over restarts and releases', () => {
    const key = { salt: new Uint8Array(16), hash: new Uint8Array(32).fill(7) }
    expect(pairingCode('cam1', key)).toBe(pairingCode('cam1', { ...key, salt: new Uint8Array(16).fill(1) }))
    expect(pairingCode('cam1', key)).toBe('HMNGTFCQ')
  })

  it('differs for another node and for another hash', () => {
    const key = { salt: new Uint8Array(16), hash: new Uint8Array(32) }
    const codes = new Set([
      pairingCode('cam1', key),
      pairingCode('cam2', key),
      pairingCode('cam1', { ...key, hash: new Uint8Array(32).fill(1) }),
      pairingCode('cam', { ...key, hash: new Uint8Array(32).fill(2) }),
    ])
    expect(codes.size).toBe(4)
  })

  it('spreads over its letters in every place', () => {
    const seen = Array.from({ length: 8 }, () => new Set<string>())
    for (let i = 0; i < 1000; i++) {
      const code = pairingCode(`cam${i}`, { salt: new Uint8Array(16), hash: new Uint8Array(32) })
      for (const [place, letter] of [...code].entries()) seen[place]?.add(letter)
    }
    for (const letters of seen) expect(letters.size).toBe(20)
  })
})

describe('a password', () => {
  it('matches its own hash in PHC form and nothing else', async () => {
    const stored = await hashPassword('correct horse')
    expect(stored).toMatch(/^\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    expect(isPasswordHash(stored)).toBe(true)
    expect(await passwordMatches(stored, 'correct horse')).toBe(true)
    for (const wrong of ['correct hors', 'correct horse ', 'Correct horse', '']) {
      expect(await passwordMatches(stored, wrong)).toBe(false)
    }
    expect(await hashPassword('correct horse')).not.toBe(stored)
  })

  it('is the same however the keyboard composed its letters', async () => {
    const stored = await hashPassword('Gänseblümchen'.normalize('NFD'))
    expect(await passwordMatches(stored, 'Gänseblümchen'.normalize('NFC'))).toBe(true)
  })

  it.each([
    '',
    'plain text',
    '$scrypt$',
    '$scrypt$ln=15,r=8,p=1$short$short',
    '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaA',
    '$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n',
  ])('matches no hash of another form: %j', async (stored) => {
    expect(isPasswordHash(stored)).toBe(false)
    expect(await passwordMatches(stored, '')).toBe(false)
  })

  it('is checked against a stored hash of other, weaker or stronger, parameters', async () => {
    // RFC 7914, section 12: scrypt("pleaseletmein", "SodiumChloride", 16384, 8, 1, 64).
    const salt = Buffer.from('SodiumChloride').toString('base64').replaceAll('=', '')
    const hash = Buffer.from(
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2' +
        'd5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
      'hex',
    )
      .toString('base64')
      .replaceAll('=', '')
    expect(await passwordMatches(`$scrypt$ln=14,r=8,p=1$${salt}$${hash}`, 'pleaseletmein')).toBe(true)
    expect(await passwordMatches(`$scrypt$ln=14,r=8,p=1$${salt}$${hash}`, 'pleaseletmeout')).toBe(false)
  })
})

it('sha256Hex is SHA-256 (FIPS 180-4, "abc")', () => {
  expect(sha256Hex('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
})
