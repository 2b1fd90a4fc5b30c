/** The little of man(7) that the pages need. */

/** Text as it is to be read: no escape, no hyphenation of options, no request at a line's start. */
export function text(plain: string): string {
  return plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .split('\n')
    .map((line) => (/^[.']/.test(line) ? `\\&${line}` : line))
    .join('\n')
}

/** `code` in bold, as the documents write it. */
export function prose(markdown: string): string {
  return text(markdown).replace(/`([^`]*)`/g, '\\fB$1\\fR')
}

/** One line as an argument of a request. */
export function argument(plain: string): string {
  return `"${text(plain).replaceAll('"', '\\(dq')}"`
}

export function title(name: string, section: number, epochSeconds: number, version: string): string {
  const date = new Date(epochSeconds * 1000).toISOString().slice(0, 10)
  return `.TH ${argument(name.toUpperCase())} ${section} ${argument(date)} ${argument(`Limb Bridge ${version}`)}`
}

export function heading(name: string): string {
  return `.SH ${argument(name)}`
}

export function subheading(name: string): string {
  return `.SS ${argument(name)}`
}

export function paragraph(markdown: string): string {
  return `.PP\n${prose(markdown)}`
}

/** A term in bold, and what it is. */
export function item(term: string, markdown: string): string {
  return `.TP\n.B ${argument(term)}\n${prose(markdown)}`
}

/** As it is typed. */
export function example(plain: string): string {
  return `.PP\n.in +4n\n.nf\n${text(plain)}\n.fi\n.in`
}
