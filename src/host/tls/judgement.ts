import { X509Certificate } from 'node:crypto'
import { trustedAuthorities } from '../../kernel/authorities.ts'

/**
 * Judges a certificate as the clients of the bridge will: the leaf and the chain that it needs. What else stands in the
 * file, such as an old cross-signed root that nobody looks at any more, counts for nothing.
 */
export interface CertificateJudgement {
  /** The time at which the first certificate of the chain that is needed ends, in milliseconds since 1970. */
  readonly notAfterMs: number
  /** The time from which all of them are valid. */
  readonly notBeforeMs: number
  /** The name of the certificate that ends first, when it is not the leaf. */
  readonly endsFirst: string | undefined
  /** The reasons for which clients refuse it beside its times, or will: each a clause that begins with a verb. */
  readonly faults: readonly string[]
}

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const MAX_CHAIN = 10

/** The DER of signatures with MD5 or SHA-1. */
const BROKEN_SIGNATURES: Readonly<Record<string, string>> = {
  '06092a864886f70d010104': 'MD5',
  '06092a864886f70d010105': 'SHA-1',
  '06072a8648ce3d0401': 'SHA-1',
  '06072a8648ce380403': 'SHA-1',
}

/** The DER of RSASSA-PSS, and of parameters that name no hash, which means SHA-1, or SHA-1 itself. */
const PSS = '06092a864886f70d01010a'
const SHA1_OF_PSS = /^30..(?!a0)|^30..a0..30..06052b0e03021a/

export function judge(leaf: X509Certificate, others: readonly X509Certificate[]): CertificateJudgement {
  const chain = chainOf(leaf, others)
  const ends = chain.map((certificate) => certificate.validToDate.getTime())
  const notAfterMs = Math.min(...ends)
  const first = chain[ends.indexOf(notAfterMs)]
  return {
    notAfterMs,
    notBeforeMs: Math.max(...chain.map((certificate) => certificate.validFromDate.getTime())),
    endsFirst: first === undefined || first === leaf ? undefined : nameOf(first),
    faults: [...ofPurpose(leaf), ...chain.flatMap(ofSignature), ...ofIssuer(chain)],
  }
}

/** Follows the issuers within the file; of two with one name (cross-signed), clients take the one that lasts. */
function chainOf(leaf: X509Certificate, others: readonly X509Certificate[]): readonly X509Certificate[] {
  const chain = [leaf]
  for (let last = leaf; !isRoot(last) && chain.length < MAX_CHAIN; ) {
    const issuers = others.filter((other) => !chain.includes(other) && issued(last, other))
    // A root is of no use in the file: each client goes by its own copy.
    const next = issuers
      .filter((issuer) => !isRoot(issuer))
      .sort((one, other) => endOf(other) - endOf(one))[0]
    if (next === undefined) break
    chain.push(next)
    last = next
  }
  return chain
}

function endOf(certificate: X509Certificate): number {
  return certificate.validToDate.getTime()
}

function issued(certificate: X509Certificate, by: X509Certificate): boolean {
  return certificate.checkIssued(by) && certificate.verify(by.publicKey)
}

function isRoot(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && certificate.verify(certificate.publicKey)
}

/** A certificate that says what it is for must say that it is for servers. */
function ofPurpose({ keyUsage }: X509Certificate): string[] {
  const purposes: readonly string[] = keyUsage ?? []
  return purposes.length === 0 || purposes.includes(SERVER_AUTH)
    ? []
    : ['is not for servers (its extended key usage lacks serverAuth): clients refuse it']
}

/** The signature of a root is not looked at. */
function ofSignature(certificate: X509Certificate): string[] {
  if (isRoot(certificate)) return []
  const digest = brokenDigest(certificate.raw.toString('hex'))
  return digest === undefined
    ? []
    : [`is signed with ${digest} (${nameOf(certificate)}): many clients refuse it; have it issued anew`]
}

function brokenDigest(hex: string): string | undefined {
  const [, digest] = Object.entries(BROKEN_SIGNATURES).find(([oid]) => hex.includes(oid)) ?? []
  if (digest !== undefined) return digest
  // The first one is the algorithm of the signature; a key may be of that kind too.
  const pss = hex.indexOf(PSS)
  return pss >= 0 && SHA1_OF_PSS.test(hex.slice(pss + PSS.length)) ? 'SHA-1' : undefined
}

/** A public authority says where its own certificate is; who issued for it must stand in the file, or be known to all. */
function ofIssuer(chain: readonly X509Certificate[]): string[] {
  const last = chain.at(-1)
  if (last === undefined || isRoot(last) || !/CA Issuers/i.test(last.infoAccess ?? '')) return []
  const known = trustedAuthorities().some((pem) => {
    try {
      return last.checkIssued(new X509Certificate(pem))
    } catch {
      return false
    }
  })
  return known
    ? []
    : [
        `lacks the certificate that issued ${nameOf(last)} in the file: put the whole chain (fullchain.pem) there`,
      ]
}

/** One line: subjects have one for each part. */
function nameOf({ subject }: X509Certificate): string {
  return (subject ?? '').replaceAll('\n', ', ') || 'a certificate without a name'
}
