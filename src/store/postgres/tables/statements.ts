/** `$1, $2, …`, for so many columns. */
export function places(columns: string, from = 1): string {
  return columns
    .split(',')
    .map((_, i) => `$${i + from}`)
    .join(', ')
}

/** An INSERT that replaces the row with the same key. */
export function upsert(table: string, columns: string, key: string): string {
  const names = columns.split(',').map((name) => name.trim())
  const keys = key.split(',').map((name) => name.trim())
  const changes = names.filter((name) => !keys.includes(name)).map((name) => `${name} = EXCLUDED.${name}`)
  return `INSERT INTO ${table} (${columns}) VALUES (${places(columns)})
    ON CONFLICT (${key}) DO UPDATE SET ${changes.join(', ')}`
}
