/** CSV as RFC 4180 describes it, with commas, semicolons (as spreadsheets in much of Europe write) or tabs. */

export interface CsvRow {
  /** The line on which it begins, from 1 on. */
  readonly line: number
  readonly cells: readonly string[]
}

/** Returns the rows, without empty ones; or what is wrong, as a sentence. */
export function parseCsv(text: string): CsvRow[] | string {
  const separator = separatorOf(text.slice(0, text.indexOf('\n') < 0 ? undefined : text.indexOf('\n')))
  const rows: CsvRow[] = []
  let cells: string[] = []
  let cell = ''
  let quoted = false
  let line = 1
  let begun = 1
  const endRow = () => {
    cells.push(cell)
    if (cells.some((each) => each.trim() !== '')) rows.push({ line: begun, cells })
    cells = []
    cell = ''
  }
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '\n') line++
    if (quoted) {
      if (char !== '"') cell += char
      else if (text[at + 1] === '"') cell += text[++at]
      else quoted = false
    } else if (char === '"' && cell.trim() === '') {
      cell = ''
      quoted = true
    } else if (char === separator) {
      cells.push(cell)
      cell = ''
    } else if (char === '\n') {
      endRow()
      begun = line
    } else if (char !== '\r' || text[at + 1] !== '\n') cell += char
  }
  if (quoted) return `a quote that is opened in the row of line ${begun} is never closed`
  endRow()
  return rows
}

function separatorOf(header: string): string {
  return [',', ';', '\t'].find((each) => header.includes(each)) ?? ','
}

export function csvLine(cells: readonly string[]): string {
  return cells
    .map((cell) => (/[",;\t\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell))
    .join(',')
}
