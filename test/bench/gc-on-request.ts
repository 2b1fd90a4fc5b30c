/** Loaded into the bridge's process when its memory is measured: collects garbage when the parent asks. */
process.on('message', (message) => {
  if (message !== 'collect' || !globalThis.gc) return
  globalThis.gc()
  globalThis.gc()
  process.send?.('collected')
})
// It must not keep the bridge alive.
process.channel?.unref()
