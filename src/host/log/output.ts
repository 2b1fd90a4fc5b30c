import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'

/**
 * Standard output without waiting for who reads it. A pipe that nobody empties (a stuck journal, Ctrl-S on a
 * terminal) would hold the whole event loop in one write. So the descriptor does not block, lines wait up to a bound,
 * and those beyond it are dropped and counted. The lines of one turn of the event loop are one write: when ten thousand
 * limbs come back, a call of the kernel for each would cost more than to tell who watches.
 */

export interface LogOutput {
  /** Never throws and never waits. The line goes out when the turn of the event loop ends, or the process does. */
  write(line: string): void
  /** Writes the lines of this turn now: the process may not come to the end of it. */
  flush(): void
  /** Lines that nobody will read. */
  readonly dropped: number
}

export interface LineOutputOptions {
  /** The descriptor that lines go to; standard output when absent. */
  readonly descriptor?: number
  /** Called when lines go out again, with the number of those that did not. */
  readonly onDropped: (lines: number) => void
}

/** Lines that wait for a slow reader, or for room on a full disk; later ones are dropped. */
const MAX_WAITING_BYTES = 1024 * 1024
/** Characters of one turn that are written before it ends. */
const MAX_TURN_CHARS = 16_384
/** The time between two looks for a reader that has stopped reading, and for one that failed or has gone. */
const RETRY_MS = { full: 20, failed: 1000 } as const
const STANDARD_OUTPUT = 1

export function lineOutput({ descriptor = STANDARD_OUTPUT, onDropped }: LineOutputOptions): LogOutput {
  const target = withoutBlocking(descriptor)
  const waiting: Buffer[] = []
  let waitingBytes = 0
  let dropped = 0
  let droppedSince = 0
  let waitsForReader = false
  let turn: string[] = []
  let turnChars = 0

  function drop(): void {
    dropped++
    droppedSince++
  }
  function drain(): void {
    for (let line = waiting[0]; line !== undefined; line = waiting[0]) {
      const { written, problem } = tryWrite(target, line)
      waitingBytes -= written
      if (written < line.length) {
        waiting[0] = line.subarray(written)
        later(problem)
        return
      }
      waiting.shift()
    }
    reportDropped()
  }
  function later(problem: Problem): void {
    if (waitsForReader) return
    waitsForReader = true
    setTimeout(() => {
      waitsForReader = false
      // The lines of the turn came when there was no room: they are dropped with those before them, not kept behind a gap.
      endTurn()
      drain()
    }, RETRY_MS[problem]).unref()
  }
  function reportDropped(): void {
    if (droppedSince === 0) return
    const lines = droppedSince
    droppedSince = 0
    onDropped(lines)
  }

  /** The rest of a line that has begun is always kept: half of one would spoil the next. */
  function keep(line: Buffer, begun: number): void {
    if (begun === 0 && waitingBytes + line.length > MAX_WAITING_BYTES) {
      drop()
      return
    }
    waiting.push(line.subarray(begun))
    waitingBytes += line.length - begun
  }
  function endTurn(): void {
    const lines = turn
    turn = []
    turnChars = 0
    const bytes = Buffer.from(lines.join(''))
    const { written, problem } = waiting.length === 0 ? tryWrite(target, bytes) : NOTHING
    if (written === bytes.length) return
    let left = written
    for (const line of lines.map((text) => Buffer.from(text))) {
      const begun = Math.min(left, line.length)
      left -= begun
      if (begun < line.length) keep(line, begun)
    }
    later(problem)
  }

  // The last words of a process that ends, as far as they go without waiting.
  process.on('exit', () => {
    endTurn()
    drain()
    // It may have said how many lines were dropped.
    endTurn()
  })
  return {
    write(line) {
      turnChars += line.length
      if (turn.push(line) === 1) setImmediate(endTurn)
      if (turnChars > MAX_TURN_CHARS) endTurn()
    },
    flush: endTurn,
    get dropped() {
      return dropped
    },
  }
}

type Problem = keyof typeof RETRY_MS

interface Written {
  readonly written: number
  /** The reason why not all of it was written. */
  readonly problem: Problem
}

const NOTHING: Written = { written: 0, problem: 'full' }

function tryWrite(descriptor: number, bytes: Buffer): Written {
  try {
    return { written: writeSync(descriptor, bytes), problem: 'full' }
  } catch (error) {
    return { written: 0, problem: (error as NodeJS.ErrnoException).code === 'EAGAIN' ? 'full' : 'failed' }
  }
}

/**
 * A descriptor of the same place whose writes do not wait. Opened anew, a pipe or a terminal gets a flag of its own
 * that no other program shares; a socket (the journal) cannot be opened, and gets it where it is.
 */
function withoutBlocking(descriptor: number): number {
  const place = fstatSync(descriptor)
  if (!place.isFIFO() && !place.isSocket() && !place.isCharacterDevice()) return descriptor
  try {
    const flags = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY
    const anew = openSync(`/proc/self/fd/${descriptor}`, flags)
    // Guards against a system whose /proc shows something else.
    if (fstatSync(anew).ino === place.ino) return anew
    closeSync(anew)
  } catch {
    // No /proc, a socket, or a pipe of another user's.
  }
  // Made for its side effect: libuv takes the descriptor over as one that does not block.
  if (!place.isCharacterDevice()) new Socket({ fd: descriptor, readable: false, writable: true }).unref()
  return descriptor
}
