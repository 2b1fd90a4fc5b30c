import type { Identity } from '../bridge/ports.ts'

/**
 * Makes the key by which Aedes and the store know a session, in place of its client id: whose it is and the client id
 * together. So nobody holds an id that somebody else uses, neither now nor in a stored session. No name has a space
 * or a colon.
 */
export function sessionKey(identity: Identity, clientId: string): string {
  const local = identity.kind === 'principal' && identity.local ? LOCAL : ''
  return `${local}${nameOf(identity)} ${clientId}`
}

/** The prefix of sessions through the control socket: they are not those that signed in under the same name. */
const LOCAL = 'local:'

/** The keys under which a name may have this client id: signed in, and through the control socket. */
export function keysOf(name: string, clientId: string): readonly string[] {
  return [`${name} ${clientId}`, `${LOCAL}${name} ${clientId}`]
}

/** Returns the name whose session has this key; empty for a key of another form. */
export function ownerOf(key: string): string {
  const name = key.slice(0, Math.max(0, key.indexOf(' ')))
  return name.startsWith(LOCAL) ? name.slice(LOCAL.length) : name
}

export function clientIdOf(key: string): string {
  return key.slice(key.indexOf(' ') + 1)
}

export function nameOf(identity: Identity): string {
  return identity.kind === 'principal' ? identity.name : identity.nodeId
}
