import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkCertificate } from '../../../src/host/doctor/certificates.ts'
import { type CertificateFiles, checkFiles, readFiles } from '../../../src/host/tls/certificate-files.ts'
import { judge } from '../../../src/host/tls/judgement.ts'
import { certificatesIn } from '../../../src/kernel/pem.ts'
import { lacking } from '../../support/needs.ts'
import { patience } from '../../support/patience.ts'

const DAY_MS = 86_400_000
let folder = ''
const at = (name: string) => join(folder, name)
const pem = (...names: string[]) => Buffer.concat(names.map((name) => readFileSync(at(`${name}.crt`))))

function make(
  name: string,
  options: {
    by?: string
    days?: number
    subject?: string
    ext?: string
    digest?: string
    key?: string
    pss?: boolean
  } = {},
): void {
  const { by, days = 100, subject = name, ext = '', digest = 'sha256', key = name, pss = false } = options
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
  if (key === name)
    run('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', `${key}.key`)
  run('req', '-new', '-key', `${key}.key`, '-subj', `/CN=${subject}`, '-out', `${name}.csr`)
  writeFileSync(at(`${name}.ext`), ext)
  const signer =
    by === undefined
      ? ['-signkey', `${key}.key`]
      : ['-CA', `${by}.crt`, '-CAkey', `${by}.key`, '-CAcreateserial']
  run(
    ...['x509', '-req', `-${digest}`, '-in', `${name}.csr`, '-days', String(days)],
    ...signer,
    ...(pss ? ['-sigopt', 'rsa_padding_mode:pss'] : []),
    '-extfile',
    `${name}.ext`,
    '-out',
    `${name}.crt`,
  )
}

const CA = 'basicConstraints=critical,CA:TRUE\n'

describe.skipIf(lacking('openssl') !== undefined)('a certificate', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'limb-judge-'))
    make('root', { days: 3000, ext: CA })
    make('old-root', { days: 1, ext: CA })
    make('middle', { by: 'root', days: 20, ext: CA })
    // The same name and key, signed by a root that ends tomorrow.
    make('cross', { by: 'old-root', days: 1, ext: CA, subject: 'middle', key: 'middle' })
    make('leaf', { by: 'middle', days: 300 })
    make('short', { by: 'middle', days: 5 })
    make('client', { by: 'middle', ext: 'extendedKeyUsage=clientAuth\n' })
    make('server', { by: 'middle', ext: 'extendedKeyUsage=clientAuth,serverAuth\n' })
    make('sha1', { by: 'middle', digest: 'sha1' })
    make('pss-sha1', { by: 'middle', digest: 'sha1', pss: true })
    make('pss-sha256', { by: 'middle', pss: true })
    make('public', { by: 'middle', ext: 'authorityInfoAccess=caIssuers;URI:http://ca.example/middle.crt\n' })
    make('stranger', { days: 2 })
  }, patience(60_000))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const judged = (...names: string[]) => {
    const [leaf, ...others] = certificatesIn(pem(...names))
    if (leaf === undefined) throw new Error('none')
    return judge(leaf, others)
  }
  const days = (...names: string[]) => Math.ceil((judged(...names).notAfterMs - Date.now()) / DAY_MS)

  test('ends with the first of the leaf and the chain that it needs, and with nothing else in the file', () => {
    expect(days('leaf', 'middle', 'root')).toBe(20)
    expect(judged('leaf', 'middle').endsFirst).toBe('CN=middle')
    expect(days('short', 'middle')).toBe(5)
    expect(judged('short', 'middle').endsFirst).toBeUndefined()
    expect(days('leaf', 'middle', 'old-root', 'stranger')).toBe(20)
    // Of two that are signed with one key, clients take the one that lasts.
    expect(days('leaf', 'cross', 'old-root', 'middle')).toBe(20)
    expect(days('leaf', 'cross')).toBe(1)
    expect(days('root')).toBe(3000)
  })

  test('that is for clients only, or signed with SHA-1, or lacks its issuer, is told', () => {
    expect(judged('leaf', 'middle').faults).toEqual([])
    expect(judged('server', 'middle').faults).toEqual([])
    expect(judged('client', 'middle').faults).toEqual([expect.stringContaining('is not for servers')])
    expect(judged('pss-sha256', 'middle').faults).toEqual([])
    expect(judged('pss-sha1', 'middle').faults).toEqual([
      expect.stringContaining('is signed with SHA-1 (CN=pss-sha1)'),
    ])
    expect(judged('sha1', 'middle').faults).toEqual([
      expect.stringContaining('is signed with SHA-1 (CN=sha1)'),
    ])
    expect(judged('public').faults).toEqual([
      'lacks the certificate that issued CN=public in the file: put the whole chain (fullchain.pem) there',
    ])
    expect(judged('public', 'middle').faults).toEqual([])
  })

  test('is judged alike by the start and by the doctor', async () => {
    writeFileSync(at('chain.pem'), pem('leaf', 'middle', 'old-root'))
    const files: CertificateFiles = {
      certFile: at('chain.pem'),
      keyFile: at('leaf.key'),
      caFile: null,
      crlFile: null,
    }
    const { notAfterMs } = checkFiles(await readFiles(files), files)
    expect(Math.ceil((notAfterMs - Date.now()) / DAY_MS)).toBe(20)
    const told = (now: number) => checkCertificate('tls.certFile', at('chain.pem'), now)[0]
    expect(told(Date.now())?.level).toBe('ok')
    expect(told(Date.now() + 10 * DAY_MS)?.message).toMatch(/its chain needs CN=middle, which ends in 9 days/)
    expect(told(Date.now() + 30 * DAY_MS)).toMatchObject({
      level: 'problem',
      message: expect.stringContaining('ended at'),
    })
    expect(told(Date.now() - 2 * DAY_MS)).toMatchObject({
      level: 'problem',
      message: expect.stringContaining('is the clock right?'),
    })
    writeFileSync(at('sha1.pem'), pem('sha1', 'middle'))
    expect(checkCertificate('tls.certFile', at('sha1.pem'), Date.now())).toContainEqual(
      expect.objectContaining({ level: 'warning', message: expect.stringContaining('SHA-1') }),
    )
    writeFileSync(at('empty.pem'), 'no certificate')
    expect(checkCertificate('tls.certFile', at('empty.pem'), 0)).toMatchObject([{ level: 'problem' }])
  })
})
