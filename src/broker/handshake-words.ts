/** Says what a TLS handshake that failed means, and what to do: OpenSSL's own words name neither. */

type Words = readonly [pattern: RegExp, words: string]

/** The client ended it with an alert, or spoke something else. */
const OF_CLIENT: readonly Words[] = [
  [
    /alert unknown ca|unknown_ca/i,
    'the client does not know the authority of the certificate (tls.certFile): give it that authority',
  ],
  [
    /alert (?:bad certificate|certificate unknown|unsupported certificate)|bad_certificate|certificate_unknown/i,
    'the client does not accept the certificate (tls.certFile): mostly it names another host than the client connects to, or the client does not know its authority',
  ],
  [
    /alert certificate expired|certificate_expired/i,
    'the client says that the certificate has ended: look at tls.certFile, and at the clock of the client',
  ],
  [/http request/i, 'the client speaks plain HTTP on the port of MQTT over TLS'],
  [
    /wrong version number|unknown protocol|packet length too long|record layer failure|bad record type/i,
    'the client does not speak TLS on this port: turn TLS on in the client, or let it use the port without TLS; or a proxy writes a header of the PROXY protocol first: turn that off, or name the proxy in tls.proxyNetworks',
  ],
  [
    /unsupported protocol|protocol version|version too low/i,
    'the client speaks a version of TLS that is too old (tls.minVersion)',
  ],
  [
    /no shared cipher|handshake failure/i,
    'client and bridge have no cipher in common: the TLS of the client is too old',
  ],
  [
    /no suitable signature|no shared signature/i,
    'the client knows no signature of the certificate: its TLS is too old',
  ],
  [/handshake timeout/i, 'the handshake was not over in time (mqtt.connectSeconds)'],
  [
    /socket hang up|ECONNRESET|EPIPE|before secure TLS/i,
    'the client went away in the middle: mostly it does not trust the certificate, or only knocked',
  ],
]

/** Its own certificate is not believed. */
const OF_ITS_CERTIFICATE: readonly Words[] = [
  [/none was shown/, 'the client showed no certificate, and tls.requireClientCertificate wants one'],
  [/CERT_HAS_EXPIRED/, 'the certificate of the client has ended: issue another'],
  [/CERT_NOT_YET_VALID/, 'the certificate of the client is not valid yet: look at the clocks'],
  [/CERT_REVOKED/, 'the certificate of the client was revoked (tls.crlFile)'],
  [/CRL_HAS_EXPIRED/, 'the list of revoked certificates is out of date and refuses all: renew tls.crlFile'],
  [
    /CRL_NOT_YET_VALID/,
    'the list of revoked certificates is not valid yet: look at the clock and at tls.crlFile',
  ],
  [/UNABLE_TO_GET_CRL/, 'tls.crlFile has no list of the authority that issued the certificate of the client'],
  [
    /INVALID_PURPOSE/,
    'the certificate of the client is not for clients (extended key usage): issue it with clientAuth',
  ],
  [/MD_TOO_WEAK/, 'the certificate of the client is signed with SHA-1 or worse: issue another'],
  [/KEY_TOO_SMALL/, 'the key of the certificate of the client is too short: issue another'],
  [
    /SELF_SIGNED|UNABLE_TO_(?:GET_ISSUER|VERIFY)/,
    'the certificate of the client is of an authority that tls.caFile does not have',
  ],
]

/** Puts OpenSSL's reason into words. One that is not known stays as it is. */
export function handshakeWords(reason: string): string {
  const known = reason.startsWith(ITS_CERTIFICATE) ? OF_ITS_CERTIFICATE : OF_CLIENT
  return known.find(([pattern]) => pattern.test(reason))?.[1] ?? reason
}

/** Stands before the reason when the certificate of the client is not believed. */
export const ITS_CERTIFICATE = 'client certificate: '
