import { accessSync, constants, statSync, writeFileSync } from 'node:fs'
import { dirname, extname } from 'node:path'
import { messageOf } from '../../kernel/errors.ts'
import { withoutImages } from '../../mcp/images.ts'
import type { OutputStream } from '../context.ts'
import { CliError, EXIT, usageError } from '../exit.ts'
import { asRow, type DisplayRow } from '../terminal/presentation.ts'

/** `invoke --output FILE`: the pictures of an answer as files, instead of as letters on the terminal. */

/** Refuses a place that cannot be written to before anything moves. Throws CliError. */
export function checkPictureFile(file: string): void {
  if (file === '-') return
  try {
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) throw new Error('it is a folder')
    accessSync(dirname(file), constants.W_OK)
  } catch (error) {
    throw usageError(`--output: cannot write ${file}: ${messageOf(error)}`)
  }
}

/** Writes each picture of the answer, and returns the answer with the names of the files in their place. Throws CliError. */
export function savePictures(answer: unknown, file: string, stdout: OutputStream): DisplayRow {
  const row = asRow(answer)
  const inData = withoutImages({ data: row.data })
  const inUri = withoutImages({ data: row.artifactUri })
  const images = [...inData.images, ...inUri.images]
  if (images.length === 0) throw new CliError(EXIT.refused, NO_PICTURE)
  const files = images.map((image, i) => {
    const name = nameOf(file, i)
    writePicture(name, Buffer.from(image.data, 'base64'), stdout)
    return name
  })
  const { data: _, artifactUri, ...rest } = row
  const uri = inUri.images.length > 0 || artifactUri === undefined ? {} : { artifactUri }
  return { ...rest, ...('data' in row ? { data: inData.value.data } : {}), ...uri, files }
}

const NO_PICTURE =
  'the command ran, and there is no picture in its answer; nothing was written. Call it without --output to see what it answers'

/** Returns `door.jpg`, then `door-2.jpg`, and so on. */
function nameOf(file: string, at: number): string {
  if (at === 0 || file === '-') return file
  const ending = extname(file)
  return `${file.slice(0, file.length - ending.length)}-${at + 1}${ending}`
}

function writePicture(file: string, bytes: Buffer, stdout: OutputStream): void {
  if (file === '-') {
    stdout.write(bytes)
    return
  }
  try {
    writeFileSync(file, bytes)
  } catch (error) {
    throw new CliError(EXIT.refused, `the command ran, and ${file} cannot be written: ${messageOf(error)}`)
  }
}
