import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node'
import { NOT_TO_BE_HAD } from './needs.ts'
import { OF_SQLITE } from './store.ts'

/** Names each test that was skipped and why, at the end of the run: nothing is left out without a word. */
export default class SkippedReporter implements Reporter {
  #selects = false

  onInit(vitest: Vitest): void {
    this.#selects = vitest.config.testNamePattern !== undefined
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')])
    // What a selection by name (`-t`) leaves out, nobody asked for.
    if (skipped.length === 0 || this.#selects) return
    console.log(`\nskipped, ${skipped.length} in all:`)
    for (const line of linesOf(skipped)) console.log(`  ${line}`)
    if (process.env.CI && skipped.some((test) => !mayBeSkipped(test))) process.exitCode = 1
  }
}

function linesOf(tests: readonly TestCase[]): string[] {
  return tests.map((test) => `${test.module.relativeModuleId} > ${test.fullName}: ${noteOf(test)}`)
}

function noteOf(test: TestCase): string {
  const result = test.result()
  return (result.state === 'skipped' ? result.note : undefined) ?? 'its condition does not hold here'
}

/** What depends on somebody else's server says nothing about this program, nor does what the store of this run has not. */
function mayBeSkipped(test: TestCase): boolean {
  return [NOT_TO_BE_HAD, OF_SQLITE, 'the registry does not answer'].some((start) =>
    noteOf(test).startsWith(start),
  )
}
