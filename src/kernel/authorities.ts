import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'

/**
 * Lists the authorities that a connection outwards trusts: those of Node, those of the system's store
 * (`update-ca-certificates`), and those of `NODE_EXTRA_CA_CERTS`. Node by itself leaves the system's out.
 */

let known: readonly string[] | undefined
let context: SecureContext | undefined

/** PEM, each once. Read when first asked for: what the store gets later counts after a restart. */
export function trustedAuthorities(): readonly string[] {
  known ??= [...new Set([...getCACertificates('default'), ...getCACertificates('system')])]
  return known
}

/** One for all connections: to make it anew takes as long as some hundred certificates take to read. */
export function trustedContext(): SecureContext {
  context ??= createSecureContext({ ca: [...trustedAuthorities()] })
  return context
}
