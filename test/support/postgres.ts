import { spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

/** A PostgreSQL server of its own for one test file, on a Unix socket; nobody else reaches it. */
export interface PostgresServer {
  readonly server: { host: string; user: string; database: string; port?: number }
  /** Ends it at once, as a crash does. */
  kill(): void
  /** Ends it at once, and starts it as one that follows another server, which is not there. */
  follow(): void
  /** Starts it again after that. */
  start(): void
  stop(): void
}

/** Where Debian puts the programs of each version; the newest first. */
const DEBIAN = '/usr/lib/postgresql'

/** Where the programs of the newest server are. */
export function postgresFolder(): string | undefined {
  if (!existsSync(DEBIAN)) return undefined
  const versions = readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a))
  return versions
    .map((version) => join(DEBIAN, version, 'bin'))
    .find((folder) => existsSync(join(folder, 'initdb')))
}

function versionOf(folder: string | undefined): number {
  return Number(folder?.slice(DEBIAN.length + 1).split('/')[0])
}

/** The server refuses to run as root: `nobody` runs it then. */
const NOBODY = { uid: 65534, gid: 65534 }

export interface PostgresTestOptions {
  /** Flushes each commit to the disk, as a server that is in use does. */
  readonly fsync?: boolean
  /** Listens on TCP at this port too, with TLS, and asks for the password there. */
  readonly tls?: {
    readonly port: number
    readonly addresses: string
    readonly cert: Buffer
    readonly key: Buffer
  }
}

export function startPostgres({ fsync = false, tls }: PostgresTestOptions = {}): PostgresServer {
  const folder = mkdtempSync(join(tmpdir(), 'limb-pg-'))
  const asNobody = process.getuid?.() === 0 ? NOBODY : {}
  if (process.getuid?.() === 0) chownSync(folder, NOBODY.uid, NOBODY.gid)
  const run = (program: string, ...args: string[]) => {
    const { status, stderr, stdout } = spawnSync(join(postgresFolder() ?? '', program), args, {
      ...asNobody,
      cwd: folder,
      encoding: 'utf8',
      // A server that goes on holds what it is given.
      stdio: program === 'pg_ctl' ? 'ignore' : 'pipe',
      env: { PATH: process.env.PATH, LANG: 'C.UTF-8' },
    })
    if (status !== 0) throw new Error(`${program} failed: ${stderr ?? ''}${stdout ?? ''}`)
  }
  const data = join(folder, 'data')
  // Another order than that of bytes, if the server knows one: the keys must not follow it.
  const order = versionOf(postgresFolder()) >= 15 ? ['--locale-provider=icu', '--icu-locale=en-US'] : []
  run(
    'initdb',
    '-D',
    data,
    '-U',
    'limb',
    '--auth=trust',
    '-E',
    'UTF8',
    '--locale=C.UTF-8',
    ...order,
    '--no-sync',
  )
  const put = (file: string, content: string | Buffer) => {
    const path = join(folder, file)
    writeFileSync(path, content, { mode: 0o600 })
    if (process.getuid?.() === 0) chownSync(path, NOBODY.uid, NOBODY.gid)
    return path
  }
  let listen = '-c listen_addresses='
  if (tls !== undefined) {
    put('data/pg_hba.conf', 'local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n')
    listen = `-c listen_addresses=${tls.addresses} -p ${tls.port} -c ssl=on`
    listen += ` -c ssl_cert_file=${put('server.crt', tls.cert)} -c ssl_key_file=${put('server.key', tls.key)}`
  }
  const settings = `${listen} -c unix_socket_directories=${folder} -c fsync=${fsync ? 'on' : 'off'} -c shared_buffers=16MB -c max_connections=300`
  const start = () =>
    run('pg_ctl', '-D', data, '-w', '-t', '120', '-l', join(folder, 'log'), '-o', settings, 'start')
  const kill = () => run('pg_ctl', '-D', data, '-w', '-m', 'immediate', 'stop')
  start()
  return {
    server: { host: folder, user: 'limb', database: 'postgres', ...(tls && { port: tls.port }) },
    kill,
    follow() {
      kill()
      put('data/standby.signal', '')
      start()
    },
    start,
    stop() {
      kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Asks the server as its operator does. */
export async function asOperator(folder: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ host: folder, user: 'limb', database: 'postgres' })
  await client.connect()
  try {
    return (await client.query(text)).rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}
