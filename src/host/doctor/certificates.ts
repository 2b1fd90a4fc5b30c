import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { messageOf } from '../../kernel/errors.ts'
import { type CheckResult, ok, problem, warning } from './check-result.ts'

/** Certificates that the configuration names. */

const WARN_DAYS = 14
const DAY_MS = 86_400_000
/** Settings that name one: `cert`, `certFile`, `certificate`, `certificateFile`. */
const SETTING = /^cert(?:ificate)?(?:File|Path)?$/

export function checkCertificates(config: object, now: number): readonly CheckResult[] {
  return namedIn(config, '').map(({ setting, file }) => checkCertificate(setting, file, now))
}

function namedIn(settings: object, path: string): { setting: string; file: string }[] {
  return Object.entries(settings).flatMap(([key, value]) => {
    const setting = path === '' ? key : `${path}.${key}`
    if (typeof value === 'string' && SETTING.test(key)) return [{ setting, file: value }]
    return typeof value === 'object' && value !== null ? namedIn(value, setting) : []
  })
}

export function checkCertificate(setting: string, file: string, now: number): CheckResult {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(readFileSync(file))
  } catch (error) {
    return problem('certificate', `${setting}: ${file} cannot be read: ${messageOf(error)}`)
  }
  const [from, until] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
  const days = Math.floor((until - now) / DAY_MS)
  if (now < from) {
    return problem(
      'certificate',
      `${setting}: ${file} is valid from ${certificate.validFrom} on; is the clock right?`,
    )
  }
  if (now > until) {
    return problem(
      'certificate',
      `${setting}: ${file} ended at ${certificate.validTo}; put a new one in its place`,
    )
  }
  if (days < WARN_DAYS) {
    return warning('certificate', `${setting}: ${file} ends in ${days} days; put a new one in its place`)
  }
  return ok('certificate', `${setting}: ${file} is valid for ${days} more days`)
}
