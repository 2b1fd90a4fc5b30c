import { appendFileSync } from 'node:fs'

/**
 * Is imported by the bridge under pressure: writes into the file `PRESSURE_TURNS` what the thread worked between two
 * looks at the clock, when that was long. A look comes with each turn of the event loop, two milliseconds apart at least, so that
 * what is written is never shorter than the turn in it. It is time of this thread's processor: a busy machine makes it no longer.
 */

const LOOK_MS = 2
const WRITTEN_MS = 15
const file = process.env.PRESSURE_TURNS

let before = process.threadCpuUsage()
if (file !== undefined) {
  setInterval(() => {
    const { user, system } = process.threadCpuUsage(before)
    const ms = (user + system) / 1000
    if (ms >= WRITTEN_MS) appendFileSync(file, `${Date.now()} ${ms.toFixed(1)}\n`)
    before = process.threadCpuUsage()
  }, LOOK_MS).unref()
}
