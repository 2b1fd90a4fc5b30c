import { beforeAll, beforeEach, type TestContext } from 'vitest'
import { PROGRAMS, type Program, type ProgramName } from './programs.ts'

/**
 * Tests that need a foreign program say which; without it they are skipped by name, and in CI they fail, unless the program
 * is optional.
 */

/** How a note begins that the run in CI takes as it is (test/support/skipped-reporter.ts). */
export const NOT_TO_BE_HAD = 'cannot be had here'

/** Says what is missing and how to get it; undefined when all is there. */
export function lacking(...names: readonly ProgramName[]): string | undefined {
  const missing = names.filter((name) => !PROGRAMS[name].present())
  if (missing.length === 0) return undefined
  const wanted = `needs ${missing.join(' and ')}: apt-get install ${missing.map((name) => PROGRAMS[name].package).join(' ')}`
  const isOptional = (name: ProgramName) => (PROGRAMS[name] as Program).optional === true
  return missing.every(isOptional) ? `${NOT_TO_BE_HAD}: ${wanted}` : wanted
}

function failsInCI(reason: string): boolean {
  return Boolean(process.env.CI) && !reason.startsWith(NOT_TO_BE_HAD)
}

/** Skips one test without these programs. */
export function skipWithout(context: Pick<TestContext, 'skip'>, ...names: readonly ProgramName[]): void {
  const reason = lacking(...names)
  if (reason === undefined) return
  if (failsInCI(reason)) throw new Error(reason)
  context.skip(reason)
}

/** Skips every test of the file or `describe` that calls it, without these programs. */
export function needs(...names: readonly ProgramName[]): void {
  skipAll(lacking(...names))
}

/** Skips every test of the file or `describe` that calls it, for that reason, if there is one. */
export function skipAll(reason: string | undefined): void {
  if (reason === undefined) return
  beforeAll(() => {
    if (failsInCI(reason)) throw new Error(reason)
  })
  beforeEach((context) => context.skip(reason))
}
