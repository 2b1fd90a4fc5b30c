import { createInterface } from 'node:readline'
import { firstLineOfSecret } from '../../kernel/secret-text.ts'
import type { Io } from '../context.ts'
import { CliError, EXIT, usageError } from '../exit.ts'

/** Questions to the person at the terminal. */

export function isInteractive(io: Io): boolean {
  return io.stdin.isTTY === true && io.stdout.isTTY === true
}

/** Several questions, one after the other. */
export interface Conversation {
  /** The answer, trimmed. Throws CliError at the end of input or Ctrl-C. */
  ask(question: string): Promise<string>
  close(): void
}

/** Lines that are kept for questions that are still to come. */
const MAX_LINES_AHEAD = 100

/**
 * One reader for all questions: a reader for each would lose what was typed ahead, and the answer to the
 * second question with it.
 */
export function conversation(io: Io): Conversation {
  const lines = createInterface({ input: io.stdin, output: io.stdout, terminal: true })
  const ahead: string[] = []
  let ended = false
  let wake = () => {}
  lines.on('line', (line) => {
    if (ahead.length < MAX_LINES_AHEAD) ahead.push(line)
    wake()
  })
  lines.once('close', () => {
    ended = true
    wake()
  })
  return {
    async ask(question) {
      if (ahead.length === 0 && !ended) {
        lines.setPrompt(question)
        lines.prompt()
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      } else io.stdout.write(`${question}\n`)
      const answer = ahead.shift()
      if (answer === undefined) throw new CliError(EXIT.interrupted, 'no answer; nothing was changed')
      return answer.trim()
    },
    close: () => lines.close(),
  }
}

const MAX_SECRET_CHARS = 1024

/** A line typed without echo. Backspace works, Ctrl-C and Ctrl-D leave. */
export function askSecret(io: Io, question: string): Promise<string> {
  const { stdin, stderr } = io
  stderr.write(question)
  return new Promise((resolve, reject) => {
    let text = ''
    const finish = (act: () => void) => {
      stdin.off('data', onData)
      stdin.setRawMode?.(false)
      stdin.pause()
      stderr.write('\n')
      act()
    }
    const onData = (chunk: Buffer | string) => {
      for (const char of String(chunk)) {
        if (char === '\r' || char === '\n') {
          finish(() => resolve(text))
          return
        }
        if (char === '\u0003' || char === '\u0004') {
          finish(() => reject(new CliError(EXIT.interrupted, 'no password given')))
          return
        }
        if (char === '\u007f' || char === '\b') text = [...text].slice(0, -1).join('')
        else if (char >= ' ' && text.length < MAX_SECRET_CHARS) text += char
      }
    }
    stdin.setRawMode?.(true)
    stdin.resume()
    stdin.on('data', onData)
  })
}

/** All of standard input, as UTF-8. */
export async function readAll(io: Io, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of io.stdin) {
    const part = Buffer.from(chunk)
    bytes += part.length
    if (bytes > maxBytes) throw usageError(`standard input has more than ${maxBytes} bytes`)
    chunks.push(part)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** A secret given as `-`: a line typed without echo on a terminal, else the first line of standard input. */
export async function readSecret(io: Io, name: string): Promise<string> {
  if (io.stdin.isTTY) return askSecret(io, `${name}: `)
  return firstLineOfSecret(await readAll(io, 65_536))
}
