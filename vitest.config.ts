import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { patience } from './test/support/patience.ts'

/** Files that take minutes, much of it waiting, longest first: begun last, the last of them would run alone. */
const LONG = ['console/pages', 'crash/crash', 'soak/soak', 'device-check/device-check', 'bench/bench'].map(
  (name) => `/test/${name}.test.ts`,
)

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const place = LONG.findIndex((name) => moduleId.endsWith(name))
      return place === -1 ? LONG.length : place
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

/** Another Aedes for the tests of the broker, which run in this process; see docs/decisions/0004-mqtt-5-at-the-guard.md. */
const otherAedes = process.env.TEST_AEDES
const COMPILED = join(import.meta.dirname, 'node_modules/.cache/limb-bridge-tests/compiled')

export default defineConfig({
  ...(otherAedes === undefined ? {} : { resolve: { alias: { aedes: otherAedes } } }),
  test: {
    include: ['test/**/*.test.ts'],
    // Real sockets, real files and child processes: a file is a world of its own.
    pool: 'forks',
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
    testTimeout: patience(30_000),
    hookTimeout: patience(30_000),
    expect: { poll: { timeout: patience(5000) } },
    // .ci/run counts from the file.
    reporters: ['default', 'json', './test/support/skipped-reporter.ts'],
    // Debian keeps brokers where the PATH of other users than root does not look.
    // What a test starts from the sources reads most of them ready-made: half of the CPU of a start.
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, NODE_COMPILE_CACHE: COMPILED },
    outputFile: { json: '.test-results/vitest.json' },
  },
})
