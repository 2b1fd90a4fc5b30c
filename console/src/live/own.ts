/**
 * The value of a record under a name that somebody else chose: an address that was typed, or what a device calls its
 * parameters. `constructor` and `__proto__` are names like any other, and under them a record has nothing of its own.
 */
export function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined
}
