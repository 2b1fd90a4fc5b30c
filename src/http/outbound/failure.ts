import { messageOf } from '../../kernel/errors.ts'
import { escapeText } from '../../kernel/escape-text.ts'

/**
 * Says why a connection to a limb did not come about, as a part of a sentence: Node's own texts hold OpenSSL's
 * sources.
 */

const UNTRUSTED = 'comes from an authority that the machine of the bridge does not trust'

const CERTIFICATES: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'is self-signed, and the machine of the bridge does not trust it',
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: `${UNTRUSTED}, or is sent without the certificates in between`,
  CERT_HAS_EXPIRED: 'has expired, or the clock here is wrong',
  CERT_NOT_YET_VALID: 'is not valid yet, or the clock here is wrong',
  CERT_REVOKED: 'was revoked',
  INVALID_PURPOSE: 'is not one for servers',
  ERR_TLS_CERT_ALTNAME_INVALID: 'is for another name than that of its endpointUrl',
}

const MAX_CHARS = 200

export function connectionFailure(error: unknown): string {
  const code = codeOf(error)
  const certificate = CERTIFICATES[code]
  if (certificate !== undefined) return `its certificate ${certificate} (${code})`
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return `it does not speak TLS there; register an http:// endpointUrl, or let it serve https (${code})`
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_')) {
    return `the TLS handshake failed (${code})`
  }
  const [line = ''] = messageOf(error).split('\n')
  return escapeText(line).slice(0, MAX_CHARS)
}

export function codeOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown }
  // Of older versions of Node, which tell it in the text alone.
  if (code === 'EPROTO' && String(message).includes('wrong version number'))
    return 'ERR_SSL_WRONG_VERSION_NUMBER'
  return typeof code === 'string' ? code : ''
}
