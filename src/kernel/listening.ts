/**
 * The backlog for `listen(2)` on a socket that the service manager opened. Node calls it again, with 511 unless told
 * otherwise, and would shrink the queue that the unit asked for, which is what holds clients during a restart. It
 * must be the second argument of `server.listen({ fd }, backlog)`: in the options Node ignores it beside `fd`. The
 * kernel lowers it to net.core.somaxconn.
 */
export const INHERITED_BACKLOG = 65_535

/** Linux keeps 108 bytes for a socket's path, its final NUL included; a longer one is cut off silently. */
export const SOCKET_PATH_MAX_BYTES = 107
