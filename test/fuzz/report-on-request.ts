/** Loaded into the bridge's process: says what it holds, after it has collected garbage. */
process.on('message', (message) => {
  if (message !== 'report' || !globalThis.gc) return
  globalThis.gc()
  globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  process.send?.({ heldBytes: heapUsed + external })
})
// It must not keep the bridge alive.
process.channel?.unref()
