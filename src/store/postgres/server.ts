import type pg from 'pg'

/** Makes what `pg` needs of a URL and what stands beside it. */

export interface ServerSettings {
  /** `postgres://user@host:port/database`, or with `?host=/folder` for a Unix socket. No password in it. */
  readonly url: string
  /** Asked at each connection, so that a new password needs no restart. Throws an error that names the file. */
  readonly password: () => string | undefined
  /** Certificates, PEM, that sign the server's, asked at each connection; undefined: without TLS. */
  readonly authorities: (() => readonly string[]) | undefined
}

export type Server = Pick<pg.ClientConfig, 'host' | 'port' | 'user' | 'password' | 'database' | 'ssl'>

const PORT = 5432

export function serverOf({ url, password, authorities }: ServerSettings): Server {
  const { hostname, port, username, pathname, searchParams } = new URL(url)
  const folder = searchParams.get('host')
  const secret = password()
  const user = decodeURIComponent(username)
  return {
    host: folder ?? hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? PORT : Number(port),
    user,
    database: decodeURIComponent(pathname.slice(1)) || user,
    ...(secret !== undefined && { password: secret }),
    ssl: authorities === undefined ? false : { ca: [...authorities()] },
  }
}
