import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { messageOf } from './errors.ts'

/** Reads what is PEM, and says of everything else what it is: mostly another file, or one in another form. */

const LABELS = /-----BEGIN ([A-Z0-9 ]{1,40})-----/g
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g
const CRL = /-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/
/** The first byte of DER. */
const SEQUENCE = 0x30
const MAX_LABELS = 3

/** Returns the certificates of a PEM file, in its order. Throws an error that says why there is none. */
export function certificatesIn(pem: Buffer): [X509Certificate, ...X509Certificate[]] {
  const [first, ...others] = pem.toString('latin1').match(CERTIFICATE) ?? []
  if (first === undefined) throw new Error(`it has no PEM certificate in it, ${whatIs(pem)}`)
  try {
    return [new X509Certificate(first), ...others.map((text) => new X509Certificate(text))]
  } catch (error) {
    throw new Error(`a certificate in it cannot be read (${messageOf(error)})`, { cause: error })
  }
}

/** Returns the certificates of a file, as PEM, for those whom a connection trusts: OpenSSL takes anything, silently. */
export function authoritiesIn(file: string): string[] {
  return certificatesIn(readFileSync(file)).map((certificate) => certificate.toString())
}

/** Returns the private key of a PEM file. Throws an error that says why there is none. */
export function privateKeyIn(pem: Buffer): KeyObject {
  const text = pem.toString('latin1')
  if (/ENCRYPTED/.test(text)) {
    throw new Error('its private key has a passphrase; `openssl pkey -in FILE -out NEW` takes it off')
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw new Error(`it has no PEM private key in it, ${whatIs(pem)}`)
  }
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw new Error(`its private key cannot be read (${messageOf(error)})`, { cause: error })
  }
}

/** Throws an error that says why a file is no list of revoked certificates. */
export function checkCrl(pem: Buffer): void {
  if (CRL.test(pem.toString('latin1'))) return
  throw new Error(`it has no PEM list of revoked certificates (X509 CRL) in it, ${whatIs(pem)}`)
}

function whatIs(bytes: Buffer): string {
  if (bytes.length === 0) return 'it is empty'
  const labels = new Set([...bytes.toString('latin1').matchAll(LABELS)].map(([, label]) => label))
  if (labels.size > 0) return `but ${[...labels].slice(0, MAX_LABELS).join(', ')}`
  if (bytes[0] !== SEQUENCE) return 'and no other PEM'
  return isCertificate(bytes)
    ? 'it is DER: `openssl x509 -inform der -in FILE -out NEW` makes PEM of it'
    : 'it is binary (DER, or PKCS#12, of which `openssl pkcs12 -in FILE -nodes -out NEW` makes PEM)'
}

function isCertificate(der: Buffer): boolean {
  try {
    return new X509Certificate(der).raw.length > 0
  } catch {
    return false
  }
}
