/** The result of a check of the doctor. */

export interface CheckResult {
  /** The thing that was looked at, such as `database`. */
  readonly what: string
  readonly level: 'ok' | 'warning' | 'problem'
  /** Says what there is, and for anything but `ok` what to do. */
  readonly message: string
}

export function ok(what: string, message: string): CheckResult {
  return { what, level: 'ok', message }
}
export function warning(what: string, message: string): CheckResult {
  return { what, level: 'warning', message }
}
export function problem(what: string, message: string): CheckResult {
  return { what, level: 'problem', message }
}
