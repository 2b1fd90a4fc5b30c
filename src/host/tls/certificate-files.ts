import { readFileSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { MisconfiguredError, messageOf } from '../../kernel/errors.ts'
import { certificatesIn, checkCrl, privateKeyIn } from '../../kernel/pem.ts'
import { sha256Hex } from '../../kernel/secrets.ts'
import type { Config } from '../config/config.ts'
import { CREDENTIALS_PREFIX } from '../config/secret-lines.ts'
import { type CertificateJudgement, judge } from './judgement.ts'
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
  readonly ca: Buffer | undefined
  readonly crl: Buffer | undefined
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

/** A setting that names a file: its key, what it names, and whether nothing but the listeners uses it. */
interface NamedFile {
  readonly key: string
  readonly path: string
  readonly ofListeners: boolean
}

/**
 * Lists what a start would stumble over, for whoever checks a configuration. It lists only what is surely wrong: that
 * this user may not read a private key is as it should be. Root learns what the packaged service may not read.
 */
export function unusableFiles(config: Config): string[] {
  const problems = namedFiles(config).flatMap(problemOf)
  const isPairThere = usesTls(config) && !problems.some((text) => text.startsWith('tls.'))
  return isPairThere ? [...problems, ...keyProblem(config.tls)] : problems
}

/** Lists what is wrong with the files that no listener needs: the start goes on without them. */
export function unusableOutwards(config: Config): string[] {
  return namedFiles(config)
    .filter(({ ofListeners }) => !ofListeners)
    .flatMap(problemOf)
}

function namedFiles(config: Config): NamedFile[] {
  const named: NamedFile[] = []
  const add = (key: string, path: string | null | undefined, ofListeners = false) => {
    // Of credentials only the service knows where they are.
    if (path && !path.startsWith(CREDENTIALS_PREFIX)) named.push({ key, path, ofListeners })
  }
  if (usesTls(config)) {
    for (const key of ['certFile', 'keyFile', 'caFile', 'crlFile'] as const)
      add(`tls.${key}`, config.tls[key], true)
  }
  for (const [i, uplink] of config.uplinks.entries()) {
    for (const key of ['caFile', 'passwordFile'] as const) add(`uplinks[${i}].${key}`, uplink[key])
  }
  add('invocation.caFile', config.invocation.caFile)
  if (config.store.kind === 'postgres') {
    for (const key of ['passwordFile', 'caFile', 'secretFile'] as const)
      add(`store.${key}`, config.store[key])
  }
  for (const [i, webhook] of config.webhooks.entries()) {
    for (const key of ['urlFile', 'secretFile', 'tokenFile', 'caFile'] as const)
      add(`webhooks[${i}].${key}`, webhook[key])
  }
  return named
}

function problemOf({ key, path }: NamedFile): string[] {
  const fault = faultOf(path)
  const why = fault === undefined ? whyServiceCannotRead(resolve(path)) : HINTS[fault]
  if (why !== undefined) return [`${key}: cannot read ${path}: ${why}`]
  const check = CHECKS[key.slice(key.lastIndexOf('.') + 1)]
  if (check === undefined) return []
  try {
    check(readFileSync(path))
    return []
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) return []
    return [`${key}: cannot use ${path}: ${messageOf(error)}`]
  }
}

const CHECKS: Readonly<Record<string, (pem: Buffer) => unknown>> = {
  certFile: certificatesIn,
  keyFile: privateKeyIn,
  caFile: certificatesIn,
  crlFile: checkCrl,
}

/** Says that the key is another certificate's, when this user may read both. */
function keyProblem({ certFile, keyFile }: Config['tls']): string[] {
  if (
    certFile === null ||
    keyFile === null ||
    [certFile, keyFile].some((file) => file.startsWith(CREDENTIALS_PREFIX))
  )
    return []
  try {
    checkPair(readFileSync(certFile), readFileSync(keyFile), { certFile, keyFile })
    return []
  } catch (error) {
    return error instanceof MisconfiguredError ? [error.message] : []
  }
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
    files.caFile === null ? undefined : read('caFile', files.caFile),
    files.crlFile === null ? undefined : read('crlFile', files.crlFile),
  ])
  const fingerprint = sha256Hex([cert, key, ca, crl].map((file) => file?.toString('base64') ?? '').join(' '))
  return { cert, key, ca, crl, fingerprint }
}

/** Throws an error that names the key of the configuration and says what is wrong with its file. */
export function checkFiles(read: ReadFiles, files: CertificateFiles): CheckedCertificate {
  const [leaf, ...others] = checkPair(read.cert, read.key, files)
  const material = {
    cert: read.cert,
    key: read.key,
    ...(read.ca === undefined ? undefined : { ca: read.ca }),
    ...(read.crl === undefined ? undefined : { crl: read.crl }),
  }
  const { ca, crl } = read
  if (ca !== undefined) use('caFile', files.caFile, () => certificatesIn(ca))
  if (crl !== undefined) use('crlFile', files.crlFile, () => checkCrl(crl))
  explain('tls: these files do not work together', () => createSecureContext(material))
  return {
    material,
    subject: leaf.subjectAltName ?? leaf.subject,
    ...judge(leaf, others),
  }
}

/** Returns the certificates of the one file when the key of the other is that of the first. */
function checkPair(
  cert: Buffer,
  key: Buffer,
  { certFile, keyFile }: Pick<CertificateFiles, 'certFile' | 'keyFile'>,
): ReturnType<typeof certificatesIn> {
  const chain = use('certFile', certFile, () => certificatesIn(cert))
  const privateKey = use('keyFile', keyFile, () => privateKeyIn(key))
  if (chain[0].checkPrivateKey(privateKey)) return chain
  if (chain.some((each) => each.checkPrivateKey(privateKey))) {
    throw new MisconfiguredError(
      `tls.certFile: ${certFile} does not begin with the certificate of the key: put that before those that issued it`,
    )
  }
  throw new MisconfiguredError(`tls.keyFile: ${keyFile} is not the key of the certificate in ${certFile}`)
}

function use<T>(key: string, path: string | null, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new MisconfiguredError(`tls.${key}: cannot use ${path}: ${messageOf(error)}`, { cause: error })
  }
}

function explain<T>(what: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new MisconfiguredError(`${what} (${messageOf(error)})`, { cause: error })
  }
}
