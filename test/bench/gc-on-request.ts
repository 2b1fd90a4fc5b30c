/**
 * Loaded into the bridge's process when its memory is measured: collects garbage when the parent asks. `collect-all`
 * also gives the pages that are free afterwards back to the system; without that they stay resident for as long as
 * V8 likes, and resident memory says how busy the process was rather than what it holds.
 */
process.on('message', (message) => {
  if (!globalThis.gc) return
  if (message === 'collect') {
    globalThis.gc()
    globalThis.gc()
  } else if (message === 'collect-all') {
    globalThis.gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  } else return
  process.send?.('collected')
})
// It must not keep the bridge alive.
process.channel?.unref()
