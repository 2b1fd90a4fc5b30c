import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { lacking } from './needs.ts'

/** Certificates that live as long as a test, made by openssl. */

export interface Pair {
  readonly certFile: string
  readonly keyFile: string
  readonly cert: Buffer
  readonly key: Buffer
}

export interface Authority extends Pair {
  /** `days` may be negative: ended already. */
  issue(name: string, days?: number): Pair
  /** A list of revoked certificates; returns its path. */
  revoke(...pairs: Pair[]): string
}

function openssl(args: readonly string[], input?: string): void {
  execFileSync('openssl', args, { stdio: ['pipe', 'ignore', 'pipe'], input: input ?? '' })
}

function pair(folder: string, file: string): Pair {
  const [certFile, keyFile] = [join(folder, `${file}.crt`), join(folder, `${file}.key`)]
  return { certFile, keyFile, cert: readFileSync(certFile), key: readFileSync(keyFile) }
}

function newKey(path: string): void {
  openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', path])
}

let serial = 1000

/** Stands in a file whose tests are all skipped, because there is no openssl. */
const NOTHING: Pair = { certFile: '', keyFile: '', cert: Buffer.alloc(0), key: Buffer.alloc(0) }
const NO_AUTHORITY: Authority = { ...NOTHING, issue: () => NOTHING, revoke: () => '' }

export function authority(folder: string, name = 'Test authority'): Authority {
  if (lacking('openssl') !== undefined) return NO_AUTHORITY
  const home = join(folder, name.replaceAll(' ', '-'))
  mkdirSync(home, { recursive: true })
  newKey(join(home, 'ca.key'))
  openssl([
    ...['req', '-x509', '-new', '-key', join(home, 'ca.key'), '-subj', `/CN=${name}`, '-days', '10'],
    ...['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=keyCertSign,cRLSign'],
    ...['-out', join(home, 'ca.crt')],
  ])
  const database = join(home, 'index.txt')
  const config = join(home, 'ca.cnf')
  writeFileSync(database, '')
  writeFileSync(
    config,
    [
      '[ca]\ndefault_ca=own\n[own]',
      `database=${database}\ndefault_md=sha256\ndefault_days=10\ndefault_crl_days=10\nunique_subject=no`,
      `certificate=${join(home, 'ca.crt')}\nprivate_key=${join(home, 'ca.key')}\nnew_certs_dir=${home}`,
      `policy=any\nserial=${join(home, 'serial')}`,
      '[any]\ncommonName=supplied\n',
    ].join('\n'),
  )
  writeFileSync(join(home, 'serial'), '1000\n')

  return {
    ...pair(home, 'ca'),
    issue(common, days = 10) {
      const file = `leaf-${serial++}`
      const at = (end: string) => join(home, `${file}.${end}`)
      newKey(at('key'))
      openssl(['req', '-new', '-key', at('key'), '-subj', `/CN=${common}`, '-out', at('csr')])
      writeFileSync(at('ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
      const day = 86_400_000
      const stamp = (ms: number) => `${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`
      const now = Date.now()
      openssl([
        ...['ca', '-batch', '-notext', '-config', config, '-in', at('csr'), '-out', at('crt')],
        ...['-startdate', stamp(now - 30 * day), '-enddate', stamp(now + days * day), '-extfile', at('ext')],
      ])
      return pair(home, file)
    },
    revoke(...pairs) {
      for (const { certFile } of pairs) openssl(['ca', '-config', config, '-revoke', certFile])
      const crl = join(home, `crl-${serial++}.pem`)
      openssl(['ca', '-config', config, '-gencrl', '-out', crl])
      return crl
    },
  }
}
