import { expect } from 'vitest'
import type { Database } from '../../src/store/sqlite/database.ts'

/** The end of one run of a work. */
type End = { readonly value: unknown } | { readonly error: unknown }

const endOf = (run: () => Promise<unknown>): Promise<End> =>
  run().then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )

/**
 * The database with a writer that runs each work, undoes it, and runs it again, as a store does that has to repeat a
 * transaction (a serialization failure, a deadlock). Both runs must end alike. `runs` counts the works.
 */
export function everyWorkTwice(database: Database): Database & { readonly runs: { works: number } } {
  const runs = { works: 0 }
  const { sql, writer } = database
  const twice = async <T>(run: () => Promise<T>): Promise<T> => {
    runs.works++
    sql.exec('SAVEPOINT rehearsal')
    const first = await endOf(run)
    sql.exec('ROLLBACK TO rehearsal; RELEASE rehearsal')
    const second = await endOf(run)
    expect(second).toEqual(first)
    if ('error' in second) throw second.error
    return second.value as T
  }
  return {
    ...database,
    runs,
    sql,
    writer: new Proxy(writer, {
      get(target, key) {
        if (key === 'transact')
          return <T>(run: () => Promise<T>, ended: () => void) => target.transact(() => twice(run), ended)
        const value = Reflect.get(target, key, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    }),
  }
}
