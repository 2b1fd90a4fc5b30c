import { execFile } from 'node:child_process'
import { randomBytes, X509Certificate } from 'node:crypto'
import { lchownSync, statSync } from 'node:fs'
import { chmod, lstat, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { hostname, networkInterfaces } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { messageOf } from '../../kernel/errors.ts'

/**
 * A certificate authority of this machine's own, for a network without one: `tls init` makes it, and what it has made is
 * renewed by the bridge itself. OpenSSL does the work. Keys are of the curve P-256, which small devices can verify.
 */

const run = promisify(execFile)

/** The files below the folder; the configuration names the certificate and its key. */
export interface AuthorityFiles {
  readonly folder: string
  /** The authority's certificate, which devices get. */
  readonly ca: string
  readonly caKey: string
  /** The certificate of the bridge, and its key. */
  readonly cert: string
  readonly key: string
}

/** Devices carry the authority in their firmware: it lasts longer than they do. */
const AUTHORITY_DAYS = 7300
/** Clients of several makers refuse more than this. */
const CERTIFICATE_DAYS = 397
/** Warnings about an end begin at 30 days; a renewal comes before them. */
const RENEW_DAYS = 60
const DAY_MS = 86_400_000
/** A certificate with more names is refused by some clients, and nobody's machine has so many. */
const MAX_NAMES = 100
const OPENSSL_MS = 30_000

export function authorityFiles(folder: string): AuthorityFiles {
  return {
    folder,
    ca: join(folder, 'ca.pem'),
    caKey: join(folder, 'ca-key.pem'),
    cert: join(folder, 'bridge.pem'),
    key: join(folder, 'bridge-key.pem'),
  }
}

/** Returns the names and addresses by which this machine is reached, without those that change by the minute. */
export function machineNames(): readonly string[] {
  const host = hostname().toLowerCase()
  const short = host.split('.')[0] ?? host
  const addresses = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .filter(({ address }) => !address.startsWith('fe80:'))
    .map(({ address }) => address)
  const names = [host, short, `${short}.local`, 'localhost', '127.0.0.1', '::1', ...addresses]
  return [...new Set(names)].filter(isName)
}

/** Returns whether a certificate may be made for it: an IP address, or a name of DNS. */
export function isName(name: string): boolean {
  // An address of a link is one of many, and a certificate has no place for the link.
  if (isIP(name) !== 0) return !name.includes('%')
  return (
    name.length <= 253 &&
    /^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(name)
  )
}

/** Tells what was made, and whether the authority was there before. */
export interface MadeCertificate {
  readonly files: AuthorityFiles
  readonly names: readonly string[]
  readonly until: Date
  /** The SHA-256 fingerprint of the authority, for who compares it. */
  readonly fingerprint: string
  readonly madeAuthority: boolean
}

/**
 * Makes the authority unless there is one, and a certificate by it for the names. An authority that devices trust is never
 * replaced.
 * @throws Error with a text for people.
 */
export async function initAuthority(folder: string, names: readonly string[]): Promise<MadeCertificate> {
  const files = authorityFiles(folder)
  await mkdir(folder, { recursive: true, mode: 0o750 })
  // One that has an owner already keeps it: it may be the folder of the database, or somebody's home.
  if ((await lstat(folder)).uid === 0) giveToOwnerOf(dirname(folder), folder)
  const there = await isFile(files.caKey)
  if (!there && (await isFile(files.ca)))
    throw new Error(
      `${files.ca} is there without its key ${files.caKey}: move it away, or bring the key back`,
    )
  if (!there) await makeAuthority(files)
  await issue(files, names)
  const ca = new X509Certificate(await readFile(files.ca))
  const cert = new X509Certificate(await readFile(files.cert))
  return { files, names, until: cert.validToDate, fingerprint: ca.fingerprint256, madeAuthority: !there }
}

async function makeAuthority(files: AuthorityFiles): Promise<void> {
  const config = [
    ...['[req]', 'distinguished_name = dn', 'x509_extensions = ca', 'prompt = no'],
    ...['[dn]', `CN = Limb Bridge ${commonName(hostname())}`],
    ...[
      '[ca]',
      'basicConstraints = critical, CA:TRUE, pathlen:0',
      'keyUsage = critical, keyCertSign, cRLSign',
    ],
    'subjectKeyIdentifier = hash',
  ]
  await inWorkshop(files.folder, config, async (path) => {
    await openssl(
      ...[
        'req',
        '-x509',
        '-new',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-sha256',
      ],
      ...['-set_serial', serial(), '-days', String(AUTHORITY_DAYS), '-config', path('config')],
      ...['-keyout', path('key'), '-out', path('cert')],
    )
    await install(path('key'), files.caKey, 0o600)
    await install(path('cert'), files.ca, 0o644)
  })
}

async function issue(files: AuthorityFiles, names: readonly string[]): Promise<void> {
  const wrong = names.find((name) => !isName(name))
  if (wrong !== undefined) throw new Error(`${wrong} is neither an IP address nor a host name`)
  const kept = [...new Set(names)].slice(0, MAX_NAMES)
  const entries = kept.map((name, i) => (isIP(name) === 0 ? `DNS.${i} = ${name}` : `IP.${i} = ${name}`))
  const config = [
    ...[
      '[req]',
      'distinguished_name = dn',
      'prompt = no',
      '[dn]',
      `CN = ${commonName(kept[0] ?? 'limb-bridge')}`,
    ],
    ...['[leaf]', 'basicConstraints = critical, CA:FALSE', 'keyUsage = critical, digitalSignature'],
    ...['extendedKeyUsage = serverAuth', 'subjectAltName = @names', 'subjectKeyIdentifier = hash'],
    ...['authorityKeyIdentifier = keyid', '[names]', ...entries],
  ]
  await inWorkshop(files.folder, config, async (path) => {
    await openssl(
      ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-sha256'],
      ...['-config', path('config'), '-keyout', path('key'), '-out', path('request')],
    )
    await openssl(
      ...['x509', '-req', '-sha256', '-in', path('request'), '-CA', files.ca, '-CAkey', files.caKey],
      ...['-set_serial', serial(), '-days', String(CERTIFICATE_DAYS), '-extfile', path('config')],
      ...['-extensions', 'leaf', '-out', path('cert')],
    )
    await install(path('key'), files.key, 0o600)
    await install(path('cert'), files.cert, 0o644)
  })
}

/** Renewal by the bridge: what `tls init` has made, and nothing else. */
export class OwnCertificate {
  readonly #files: AuthorityFiles

  private constructor(files: AuthorityFiles) {
    this.#files = files
  }

  /** Returns undefined for a certificate that something else renews. */
  static async of(certFile: string, keyFile: string): Promise<OwnCertificate | undefined> {
    const files = authorityFiles(dirname(certFile))
    if (certFile !== files.cert || keyFile !== files.key) return undefined
    return (await isFile(files.caKey)) && (await isFile(files.ca)) ? new OwnCertificate(files) : undefined
  }

  /**
   * Makes a new certificate for the same names and those that the machine has now, when the old one ends soon or lacks one of
   * them. Returns why; undefined when there was nothing to do.
   */
  async renewIfDue(nowMs: number, names = machineNames()): Promise<string | undefined> {
    const cert = new X509Certificate(await readFile(this.#files.cert))
    const has = namesOf(cert)
    const lacks = names.filter((name) => !has.includes(name))
    const soon = cert.validToDate.getTime() - nowMs < RENEW_DAYS * DAY_MS
    if (!soon && lacks.length === 0) return undefined
    // The oldest first: names that were asked for stay, and addresses that come and go fall out at the end.
    const gone = has.filter((name) => !names.includes(name))
    await issue(this.#files, [...gone.slice(0, Math.max(0, MAX_NAMES - names.length)), ...names])
    return soon
      ? `it would have ended on ${cert.validToDate.toISOString()}`
      : `the machine is now ${lacks.join(', ')} too`
  }
}

/** Returns the names in a certificate, addresses in the form in which the machine tells its own. */
function namesOf({ subjectAltName = '' }: X509Certificate): string[] {
  return subjectAltName.split(', ').flatMap((entry) => {
    const [kind, name = ''] = entry.split(/:(.*)/s)
    return kind === 'DNS' || kind === 'IP Address' ? [canonical(name)] : []
  })
}

/** OpenSSL writes IPv6 in eight groups; the machine shortens them. */
function canonical(name: string): string {
  return isIP(name) === 6 ? new URL(`http://[${name}]/`).hostname.slice(1, -1) : name.toLowerCase()
}

/** A name that a configuration of OpenSSL takes as it is. */
function commonName(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9.:*-]/g, '').slice(0, 50) || 'limb-bridge'
}

function serial(): string {
  return `0x${randomBytes(16)
    .toString('hex')
    .replace(/^[89a-f]/, '7')}`
}

async function isFile(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
}

/** Keys are made in a folder that nobody else may look into, and moved to their places when they are whole. */
async function inWorkshop(
  folder: string,
  config: readonly string[],
  work: (path: (name: string) => string) => Promise<void>,
): Promise<void> {
  const place = await mkdtemp(join(folder, '.making-'))
  const path = (name: string) => join(place, name)
  try {
    await writeFile(path('config'), `${config.join('\n')}\n`, { mode: 0o600 })
    await work(path)
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}

async function install(from: string, to: string, mode: number): Promise<void> {
  await chmod(from, mode)
  giveToOwnerOf(dirname(to), from)
  await rename(from, to)
}

/** Root makes it for the service: who owns the folder owns what is in it. */
function giveToOwnerOf(folder: string, path: string): void {
  if (process.geteuid?.() !== 0) return
  const { uid, gid } = statSync(folder)
  lchownSync(path, uid, gid)
}

async function openssl(...args: readonly string[]): Promise<void> {
  try {
    await run('openssl', args, { timeout: OPENSSL_MS, env: { PATH: process.env.PATH ?? '/usr/bin' } })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Error('the program openssl is not here: `sudo apt-get install openssl` brings it', {
        cause: error,
      })
    const { stderr = '' } = error as { stderr?: string }
    throw new Error(`openssl failed: ${stderr.trim().split('\n').at(-1) || messageOf(error)}`, {
      cause: error,
    })
  }
}
