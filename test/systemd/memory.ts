import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { must, SERVICE, show } from './machine.ts'

/** The memory bound of the service as the kernel holds it. */
export interface ServiceMemory {
  /** Sets the bound, for the processes that the service has now. */
  bound(bytes: number): void
  boundBytes(): number
  /** Returns what the kernel cannot take back without ending somebody. */
  usedBytes(): number
  /** How often the kernel killed one of its processes. */
  kills(): number
  remove(): void
}

const V1 = '/run/cgroup-memory'

/**
 * Finds the bound that systemd has set. Where the machine has its memory controller in the old hierarchy, which the
 * systemd of the box does not see, the processes of the service are put into a group there.
 */
export function serviceMemory(): ServiceMemory {
  const own = `/sys/fs/cgroup${show('ControlGroup')}`
  return existsSync(join(own, 'memory.max')) ? ofUnit(own) : ofOldHierarchy()
}

const numberIn = (file: string) => Number(readFileSync(file, 'utf8'))
const killsIn = (file: string) => Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0)

function ofUnit(folder: string): ServiceMemory {
  return {
    bound: (bytes) =>
      must(
        `systemctl set-property --runtime ${SERVICE} MemoryMax=${bytes} MemoryHigh=infinity MemorySwapMax=0`,
      ),
    boundBytes: () => numberIn(join(folder, 'memory.max')),
    usedBytes: () => Number(/^anon (\d+)$/m.exec(readFileSync(join(folder, 'memory.stat'), 'utf8'))?.[1]),
    kills: () => killsIn(join(folder, 'memory.events')),
    remove: () => must(`systemctl revert ${SERVICE}; systemctl daemon-reload`),
  }
}

function ofOldHierarchy(): ServiceMemory {
  must(`mkdir -p ${V1}; mountpoint -q ${V1} || mount -t cgroup -o memory memory ${V1}`)
  const folder = join(V1, `limb-box-${process.pid}-${show('MainPID')}`)
  mkdirSync(folder)
  const bound = (bytes: number) => writeFileSync(join(folder, 'memory.limit_in_bytes'), String(bytes))
  bound(Number(show('MemoryMax')))
  const members = readFileSync(`/sys/fs/cgroup${show('ControlGroup')}/cgroup.procs`, 'utf8')
    .trim()
    .split('\n')
  for (const pid of members) writeFileSync(join(folder, 'cgroup.procs'), pid)
  return {
    bound,
    boundBytes: () => numberIn(join(folder, 'memory.limit_in_bytes')),
    usedBytes: () => numberIn(join(folder, 'memory.usage_in_bytes')),
    kills: () => killsIn(join(folder, 'memory.oom_control')),
    remove: () => rmdirSync(folder),
  }
}
