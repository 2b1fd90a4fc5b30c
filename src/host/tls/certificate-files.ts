import { createPrivateKey } from 'node:crypto'
import { statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { MisconfiguredError, messageOf } from '../../kernel/errors.ts'
import { sha256Hex } from '../../kernel/secrets.ts'
import type { Config } from '../config/config.ts'
import { CREDENTIALS_PREFIX } from '../config/secret-lines.ts'
import { type CertificateJudgement, certificatesIn, judge } from './judgement.ts'
import { whyServiceCannotRead } from './service-access.ts'

/** The files of the section `tls`, read and looked at before a listener depends on them. */

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
  readonly caFile: string | null
  readonly crlFile: string | null
}

export interface CheckedCertificate extends CertificateJudgement {
  readonly material: Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'crl'>
  /** The name that is written in the certificate, for people. */
  readonly subject: string
}

export interface ReadFiles {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca: Buffer | null
  readonly crl: Buffer | null
  /** Tells one state of the files from another. */
  readonly fingerprint: string
}

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a folder',
}

async function read(key: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    throw new MisconfiguredError(`tls.${key}: cannot read ${path}: ${HINTS[code] ?? messageOf(error)}`, {
      cause: error,
    })
  }
}

/** Returns whether something listens with the certificate. */
export function usesTls({ tls, http }: Config): boolean {
  return tls.enabled || (http.enabled && http.tls)
}

/**
 * Lists what a start would stumble over, for whoever checks a configuration. It lists only what is surely wrong: that
 * this user may not read a private key is as it should be. Root learns what the packaged service may not read.
 */
export function missingFiles(config: Config): string[] {
  const { tls, uplinks, webhooks } = config
  const own = usesTls(config) ? (['certFile', 'keyFile', 'caFile', 'crlFile'] as const) : []
  const named: (readonly [string, string | null | undefined])[] = own.map((key) => [`tls.${key}`, tls[key]])
  for (const [i, uplink] of uplinks.entries()) {
    for (const key of ['caFile', 'passwordFile'] as const) named.push([`uplinks[${i}].${key}`, uplink[key]])
  }
  named.push(['invocation.caFile', config.invocation.caFile])
  for (const [i, webhook] of webhooks.entries()) {
    for (const key of ['urlFile', 'secretFile', 'tokenFile', 'caFile'] as const)
      named.push([`webhooks[${i}].${key}`, webhook[key]])
  }
  return named.flatMap(([key, path]) => {
    // Of credentials only the service knows where they are.
    if (!path || path.startsWith(CREDENTIALS_PREFIX)) return []
    const fault = faultOf(path)
    const why = fault === undefined ? whyServiceCannotRead(resolve(path)) : HINTS[fault]
    return why === undefined ? [] : [`${key}: cannot read ${path}: ${why}`]
  })
}

function faultOf(path: string): 'ENOENT' | 'EISDIR' | undefined {
  try {
    return statSync(path).isDirectory() ? 'EISDIR' : undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'ENOENT' : undefined
  }
}

export async function readFiles(files: CertificateFiles): Promise<ReadFiles> {
  const [cert, key, ca, crl] = await Promise.all([
    read('certFile', files.certFile),
    read('keyFile', files.keyFile),
    files.caFile === null ? null : read('caFile', files.caFile),
    files.crlFile === null ? null : read('crlFile', files.crlFile),
  ])
  const fingerprint = sha256Hex([cert, key, ca, crl].map((file) => file?.toString('base64') ?? '').join(' '))
  return { cert, key, ca, crl, fingerprint }
}

/** Throws an error that names the key of the configuration and says what is wrong with its file. */
export function checkFiles(read: ReadFiles, files: CertificateFiles): CheckedCertificate {
  const chain = explain(`tls.certFile: ${files.certFile} is no PEM certificate`, () =>
    certificatesIn(read.cert),
  )
  const [leaf] = chain
  if (leaf === undefined)
    throw new MisconfiguredError(`tls.certFile: ${files.certFile} has no certificate in it`)
  const key = explain(`tls.keyFile: ${files.keyFile} is no PEM private key without a passphrase`, () =>
    createPrivateKey(read.key),
  )
  if (!leaf.checkPrivateKey(key)) {
    throw new MisconfiguredError(
      `tls.keyFile: ${files.keyFile} is not the key of the certificate in ${files.certFile}`,
    )
  }
  const material = {
    cert: read.cert,
    key: read.key,
    ...(read.ca === null ? undefined : { ca: authoritiesOf(read.ca, files.caFile ?? '') }),
    ...(read.crl === null ? undefined : { crl: read.crl }),
  }
  explain('tls: these files do not work together', () => createSecureContext(material))
  return {
    material,
    subject: leaf.subjectAltName ?? leaf.subject,
    ...judge(leaf, chain.slice(1)),
  }
}

/** OpenSSL would take a file without any certificate for one that trusts nobody, silently. */
function authoritiesOf(ca: Buffer, path: string): Buffer {
  const found = explain(`tls.caFile: ${path} is no PEM certificate`, () => certificatesIn(ca))
  if (found.length === 0) throw new MisconfiguredError(`tls.caFile: ${path} has no certificate in it`)
  return ca
}

function explain<T>(what: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new MisconfiguredError(`${what} (${messageOf(error)})`, { cause: error })
  }
}
