import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { iso } from '../../kernel/clock.ts'
import { type CheckResult, ok, problem, warning } from './check-result.ts'

/** Folders, disk, clock and limits of the machine. */

const MIB = 1024 * 1024
/** The free bytes below which the next pairing may be refused. */
const DISK_MIN_BYTES = 16 * MIB
const DISK_LOW_BYTES = 256 * MIB
/** Files of the bridge that are this much younger than now say that the clock was set back. */
const FUTURE_MS = 300_000
/** The time before which no bridge ran: a clock that says so was never set. */
const EARLIEST = Date.UTC(2026, 0, 1)
const LATEST = Date.UTC(2100, 0, 1)
/** Descriptors beside the connections: database, log, listeners. */
const OTHER_FILES = 100

/** A folder that the bridge writes to; a missing one is made at the start. */
export function checkFolder(what: string, folder: string): readonly CheckResult[] {
  if (!existsSync(folder)) {
    let above = dirname(folder)
    while (!existsSync(above)) above = dirname(above)
    return mayWrite(above)
      ? [ok(what, `${folder} is made at the first start`)]
      : [
          problem(
            what,
            `${folder} is not there and this user may not make it; make it, owned by the bridge's user`,
          ),
        ]
  }
  if (!statSync(folder).isDirectory()) return [problem(what, `${folder} is no folder`)]
  const results: CheckResult[] = []
  if (!mayWrite(folder)) {
    results.push(
      problem(
        what,
        `this user may not write to ${folder}, or it is read-only; run the doctor as the bridge's user`,
      ),
    )
  }
  const mode = statSync(folder).mode & 0o777
  if ((mode & 0o022) !== 0) {
    results.push(problem(what, `others may write to ${folder} (mode ${octal(mode)}): chmod go-w ${folder}`))
  } else if ((mode & 0o007) !== 0) {
    results.push(warning(what, `others may look into ${folder} (mode ${octal(mode)}): chmod o-rwx ${folder}`))
  }
  return results.length > 0 ? results : [ok(what, `${folder} is the bridge's own (mode ${octal(mode)})`)]
}

/** Says whether there is a file; `out of reach`: this user may not enter its folder, or its disk does not answer. */
export function lookAt(file: string): 'nothing' | 'out of reach' | 'empty' | 'full' {
  try {
    const stat = statSync(file, { throwIfNoEntry: false })
    if (stat === undefined) return 'nothing'
    return stat.size === 0 ? 'empty' : 'full'
  } catch {
    return 'out of reach'
  }
}

/** A file that nobody but its owner may read. */
export function checkFile(what: string, file: string): readonly CheckResult[] {
  const { mode, uid } = statSync(file)
  const results: CheckResult[] = []
  if ((mode & 0o077) !== 0) {
    results.push(problem(what, `others may read ${file} (mode ${octal(mode & 0o777)}): chmod 600 ${file}`))
  }
  const folder = statSync(dirname(file)).uid
  if (uid !== folder) {
    results.push(
      warning(
        what,
        `${file} belongs to user ${uid} and its folder to user ${folder}; chown it to the bridge's user`,
      ),
    )
  }
  return results
}

export function checkDisk(file: string): readonly CheckResult[] {
  let folder = dirname(file)
  while (!existsSync(folder)) folder = dirname(folder)
  const { bavail, bsize } = statfsSync(folder)
  const free = bavail * bsize
  const text = `${Math.floor(free / MIB)} MiB are free at ${folder}`
  if (free < DISK_MIN_BYTES) {
    return [
      problem('disk', `${text}: pairings will be refused; make room, or move store.path to a larger disk`),
    ]
  }
  const size = existsSync(file) ? statSync(file).size : 0
  if (free < Math.max(DISK_LOW_BYTES, size * 2)) {
    return [
      warning('disk', `${text}: not much for a database of ${Math.ceil(size / MIB)} MiB and its backups`),
    ]
  }
  return [ok('disk', text)]
}

export function checkClock(now: number, file: string): readonly CheckResult[] {
  if (now < EARLIEST || now > LATEST) {
    return [
      problem('clock', `it says ${iso(now)}; set it, and let NTP keep it (\`timedatectl set-ntp true\`)`),
    ]
  }
  const written = existsSync(file) ? statSync(file).mtimeMs : 0
  if (written > now + FUTURE_MS) {
    return [
      warning(
        'clock',
        `the database was written at ${iso(written)}, and it is ${iso(now)}: the clock was set back`,
      ),
    ]
  }
  // systemd-timesyncd's own mark.
  if (existsSync('/run/systemd/timesync') && !existsSync('/run/systemd/timesync/synchronized')) {
    return [
      warning('clock', `it says ${iso(now)}, and no time server has confirmed it yet (\`timedatectl\`)`),
    ]
  }
  return [ok('clock', `it says ${iso(now)}`)]
}

/** Looks at the limit of the service, or else of this process. Node raises the soft limit to the hard one by itself. */
export function checkOpenFiles(maxConnections: number, ofService?: number): readonly CheckResult[] {
  const limit = ofService === undefined ? ownLimit() : String(ofService)
  if (limit === undefined || limit === 'unlimited') return []
  const needed = maxConnections + OTHER_FILES
  if (Number(limit) >= needed) return [ok('open files', `up to ${limit}`)]
  if (ofService !== undefined) {
    const drop = `\`systemctl edit limb-bridge\` with [Service] and LimitNOFILE=${needed} allows more`
    return [
      warning(
        'open files',
        `the service may open ${limit}, and mqtt.maxConnections needs ${needed}: ${drop}`,
      ),
    ]
  }
  return [
    warning(
      'open files',
      `this shell allows ${limit}, and mqtt.maxConnections needs ${needed}; a service sets LimitNOFILE=, a shell \`ulimit -n\``,
    ),
  ]
}

function ownLimit(): string | undefined {
  return /^Max open files\s+\S+\s+(\S+)/m.exec(limits())?.[1]
}

function limits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return ''
  }
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

function octal(mode: number): string {
  return `0${mode.toString(8)}`
}

/** The process that has a file open that was removed since, as far as this user may look; undefined: none. */
export function heldDeleted(file: string): number | undefined {
  const wanted = `${file} (deleted)`
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => namesIn(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === wanted))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}
