import { readFileSync } from 'node:fs'
import { iso } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { certificatesIn } from '../../kernel/pem.ts'
import { type CertificateJudgement, judge } from '../tls/judgement.ts'
import { type CheckResult, ok, problem, warning } from './check-result.ts'

/** Certificates that the configuration names. */

const WARN_DAYS = 14
const DAY_MS = 86_400_000
/** Settings that name one: `cert`, `certFile`, `certificate`, `certificateFile`. */
const SETTING = /^cert(?:ificate)?(?:File|Path)?$/

export function checkCertificates(config: object, now: number): readonly CheckResult[] {
  return namedIn(config, '').flatMap(({ setting, file }) => checkCertificate(setting, file, now))
}

function namedIn(settings: object, path: string): { setting: string; file: string }[] {
  return Object.entries(settings).flatMap(([key, value]) => {
    const setting = path === '' ? key : `${path}.${key}`
    if (typeof value === 'string' && SETTING.test(key)) return [{ setting, file: value }]
    return typeof value === 'object' && value !== null ? namedIn(value, setting) : []
  })
}

/** Judges a file as its clients will, just as the bridge does at its start. */
export function checkCertificate(setting: string, file: string, now: number): readonly CheckResult[] {
  const at = `${setting}: ${file}`
  let judgement: CertificateJudgement
  try {
    const [leaf, ...others] = certificatesIn(readFileSync(file))
    judgement = judge(leaf, others)
  } catch (error) {
    return [problem('certificate', `${at} cannot be used: ${messageOf(error)}`)]
  }
  const faults = judgement.faults.map((fault) => warning('certificate', `${at} ${fault}`))
  return [ofTimes(at, judgement, now), ...faults]
}

function ofTimes(
  at: string,
  { notBeforeMs, notAfterMs, endsFirst }: CertificateJudgement,
  now: number,
): CheckResult {
  const whose = endsFirst === undefined ? at : `${at}: its chain needs ${endsFirst}, which`
  const days = Math.floor((notAfterMs - now) / DAY_MS)
  if (now < notBeforeMs) {
    return problem('certificate', `${at} is valid from ${iso(notBeforeMs)} on; is the clock right?`)
  }
  if (now > notAfterMs) {
    return problem('certificate', `${whose} ended at ${iso(notAfterMs)}; put a new one in its place`)
  }
  if (days < WARN_DAYS) {
    return warning('certificate', `${whose} ends in ${days} days; put a new one in its place`)
  }
  return ok('certificate', `${at} is valid for ${days} more days`)
}
