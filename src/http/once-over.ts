import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * Calls `over` once, when the response has been sent or its client has gone; at once when that was before this call.
 * A response that waits behind another one on its connection never tells of its end: the socket does.
 */
export function onceOver(
  { raw: { socket } }: FastifyRequest,
  { raw: response }: FastifyReply,
  over: () => void,
): void {
  let isOver = false
  const ended = () => {
    // The socket tells both in one go, and then taking a listener away comes too late.
    if (isOver) return
    isOver = true
    response.off('close', ended)
    socket.off('close', ended)
    over()
  }
  if (socket.destroyed || response.destroyed) {
    over()
    return
  }
  response.once('close', ended)
  socket.once('close', ended)
}
