import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { patience } from '../support/patience.ts'

/** In the order of the files' names: one box sees all of them, and fails the same way each time. */
class ByName extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => a.moduleId.localeCompare(b.moduleId))
  }
}

/** Only in the box: these tests install packages and kill services. */
export default defineConfig({
  test: {
    root: '/project',
    include: ['test/systemd/**/*.suite.ts'],
    pool: 'forks',
    maxWorkers: 1,
    sequence: { sequencer: ByName },
    testTimeout: patience(60_000),
    hookTimeout: patience(60_000),
    reporters: ['verbose', 'json'],
    outputFile: { json: '/out/systemd.json' },
  },
})
