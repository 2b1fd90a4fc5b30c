/**
 * PostgreSQL's texts hold every character but NUL. One that has it is stored with U+FDD0, which is no character, before
 * what stands for it; a text that has U+FDD0 itself, likewise. It is done where values go to the server and come from it,
 * so that no column is forgotten. Keys have neither, so their order is that of their bytes.
 */
const MARK = '\uFDD0'
const NUL = '\uFDD1'

export function toStored(text: string): string {
  if (!text.includes('\0') && !text.includes(MARK)) return text
  return text.replaceAll(MARK, MARK + MARK).replaceAll('\0', MARK + NUL)
}

export function fromStored(text: string): string {
  if (!text.includes(MARK)) return text
  return text.replaceAll(/\uFDD0([\uFDD0\uFDD1])/g, (_, kind) => (kind === NUL ? '\0' : MARK))
}
