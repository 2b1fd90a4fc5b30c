/** The kinds of attacks for which the bridge is set up in another way. */

/** Has MQTT over TLS, and a bridge whose HTTP is HTTPS. */
export const TLS_KIND = 'handshakes of TLS'
/** Has MQTT over TLS beside plain HTTP. */
export const ALL_KIND = 'everything at once'
