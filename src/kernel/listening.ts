/**
 * The connections that the kernel keeps until they are taken, as `listen(2)` has it; it lowers this to
 * net.core.somaxconn. With Node's own 511 a fleet that comes back at once overflows the queue: clients believe to be
 * connected, wait, and are reset in the end. On a socket that the service manager opened it must be the second argument
 * of `server.listen({ fd }, backlog)`, since in the options Node ignores it beside `fd`, and would shrink the queue that
 * the unit asked for.
 */
export const LISTEN_BACKLOG = 65_535

/** Linux keeps 108 bytes for a socket's path, its final NUL included; a longer one is cut off silently. */
export const SOCKET_PATH_MAX_BYTES = 107
