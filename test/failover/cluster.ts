import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../support/free-port.ts'
import { postgresFolder } from '../support/postgres.ts'

/** PostgreSQL as users run it so that it outlives a machine: Patroni, etcd and HAProxy of Debian, all on loopback. */

/** The servers refuse to run as root: `nobody` runs them then. */
const NOBODY = { uid: 65534, gid: 65534 }

interface Member {
  readonly name: string
  readonly postgres: number
  readonly rest: number
  patroni: ChildProcess
}

export interface Cluster {
  readonly folder: string
  /** Where HAProxy leads to the primary. */
  readonly url: string
  /** Where HAProxy leads to the bridge that is ready. */
  readonly mqtt: number
  primary(): Promise<string>
  /** Kills Patroni and the server of the primary at once; resolves with a function that starts them again. */
  killPrimary(): Promise<() => void>
  /** Resolves when there is a primary with a synchronous standby. */
  healthy(): Promise<void>
  stop(): Promise<void>
}

export interface BridgePlace {
  readonly mqtt: number
  readonly http: number
}

export async function startCluster(bridges: readonly BridgePlace[]): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-failover-'))
  const asRoot = process.getuid?.() === 0
  if (asRoot) chownSync(folder, NOBODY.uid, NOBODY.gid)
  const children = new Set<ChildProcess>()
  const run = (name: string, file: string, ...args: string[]): ChildProcess => {
    const out = openSync(join(folder, `${name}.log`), 'a')
    const child = spawn(file, args, {
      ...(asRoot ? NOBODY : {}),
      cwd: folder,
      stdio: ['ignore', out, out],
      env: { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: folder },
    })
    children.add(child)
    child.on('close', () => children.delete(child))
    return child
  }
  const etcd = await startEtcd(folder, run)
  const members: Member[] = []
  for (const name of ['a', 'b']) {
    const [postgres, rest] = [await freePort(), await freePort()]
    const file = join(folder, `${name}.yml`)
    const data = join(folder, `data-${name}`)
    mkdirSync(data, { mode: 0o700 })
    if (asRoot) chownSync(data, NOBODY.uid, NOBODY.gid)
    writeFileSync(file, JSON.stringify(memberConfig({ folder, name, data, postgres, rest, etcd })))
    members.push({ name, postgres, rest, patroni: run(`patroni-${name}`, 'patroni', file) })
  }
  const [database, mqtt] = [await freePort(), await freePort()]
  const proxy = join(folder, 'haproxy.cfg')
  writeFileSync(proxy, proxyConfig(database, members, mqtt, bridges))
  run('haproxy', '/usr/sbin/haproxy', '-f', proxy)

  const roles = async () => await Promise.all(members.map(async (each) => ({ each, is: await role(each) })))
  const cluster: Cluster = {
    folder,
    url: `postgres://postgres@127.0.0.1:${database}/postgres`,
    mqtt,
    async primary() {
      return (await roles()).find(({ is }) => is === 'primary')?.each.name ?? 'none'
    },
    async killPrimary() {
      const found = (await roles()).find(({ is }) => is === 'primary')?.each
      if (found === undefined) throw new Error('there is no primary')
      const server = await serverPid(folder, found.name)
      found.patroni.kill('SIGKILL')
      process.kill(server, 'SIGKILL')
      return () => {
        found.patroni = run(`patroni-${found.name}`, 'patroni', join(folder, `${found.name}.yml`))
      }
    },
    async healthy() {
      await until('a primary with a synchronous standby', 180_000, async () => {
        const seen = (await roles()).map(({ is }) => is)
        return seen.includes('primary') && seen.includes('sync')
      })
    },
    async stop() {
      for (const { patroni } of members) patroni.kill('SIGTERM')
      const ended = [...children].map(async (child) => await once(child, 'close'))
      await Promise.race([Promise.all(members.map(({ patroni }) => gone(patroni))), wait(20_000)])
      for (const child of children) child.kill('SIGKILL')
      await Promise.race([Promise.all(ended), wait(5000)])
      for (const { name } of members)
        await serverPid(folder, name).then(
          (pid) => process.kill(pid, 'SIGKILL'),
          () => undefined,
        )
      rmSync(folder, { recursive: true, force: true })
    },
  }
  try {
    await cluster.healthy()
    return cluster
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

async function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
}

/** Waits for something outside of this process, which says nothing of itself. */
export async function until(what: string, limitMs: number, look: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + limitMs
  while (!(await look().catch(() => false))) {
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs / 1000} s`)
    await wait(100)
  }
}

async function startEtcd(folder: string, run: (...args: [string, string, ...string[]]) => ChildProcess) {
  const [client, peer] = [await freePort(), await freePort()]
  const [at, between] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  run(
    'etcd',
    'etcd',
    ...['--name', 'e', '--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync'],
    ...['--listen-client-urls', at, '--advertise-client-urls', at],
    ...['--listen-peer-urls', between, '--initial-advertise-peer-urls', between],
    ...['--initial-cluster', `e=${between}`],
  )
  await until('etcd', 30_000, async () => (await fetch(`${at}/health`)).ok)
  return client
}

/** The process that the server of a member runs as. */
async function serverPid(folder: string, name: string): Promise<number> {
  return Number((await readFile(join(folder, `data-${name}`, 'postmaster.pid'), 'utf8')).split('\n')[0])
}

async function role({ rest }: Member): Promise<'primary' | 'sync' | 'other'> {
  const answers = async (path: string) =>
    await fetch(`http://127.0.0.1:${rest}${path}`, { signal: AbortSignal.timeout(2000) }).then(
      ({ status }) => status === 200,
      () => false,
    )
  if (await answers('/primary')) return 'primary'
  return (await answers('/synchronous')) ? 'sync' : 'other'
}

interface MemberPlaces {
  readonly folder: string
  readonly name: string
  readonly data: string
  readonly postgres: number
  readonly rest: number
  readonly etcd: number
}

/** JSON is YAML. */
function memberConfig({ folder, name, data, postgres, rest, etcd }: MemberPlaces): object {
  const at = (port: number) => `127.0.0.1:${port}`
  return {
    scope: 'limb',
    name,
    restapi: { listen: at(rest), connect_address: at(rest) },
    etcd3: { host: at(etcd) },
    bootstrap: {
      dcs: {
        ttl: 20,
        loop_wait: 3,
        retry_timeout: 5,
        synchronous_mode: true,
        postgresql: { use_pg_rewind: true, parameters: { wal_log_hints: 'on', max_connections: 60 } },
      },
      initdb: [{ encoding: 'UTF8' }, { locale: 'C.UTF-8' }],
      pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust'],
    },
    postgresql: {
      listen: at(postgres),
      connect_address: at(postgres),
      data_dir: data,
      bin_dir: postgresFolder(),
      pgpass: join(folder, `pgpass-${name}`),
      authentication: {
        superuser: { username: 'postgres', password: 'none' },
        replication: { username: 'replicator', password: 'none' },
        rewind: { username: 'postgres', password: 'none' },
      },
      parameters: { unix_socket_directories: folder, shared_buffers: '32MB' },
    },
  }
}

function proxyConfig(
  database: number,
  members: readonly Member[],
  mqtt: number,
  bridges: readonly BridgePlace[],
): string {
  return `
global
  maxconn 4000
defaults
  mode tcp
  timeout connect 3s
  timeout client 1h
  timeout server 1h
  timeout check 2s
frontend database
  bind 127.0.0.1:${database}
  default_backend primary
backend primary
  option httpchk GET /primary
  default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
${members.map(({ name, postgres, rest }) => `  server ${name} 127.0.0.1:${postgres} check port ${rest}`).join('\n')}
frontend limbs
  bind 127.0.0.1:${mqtt}
  default_backend bridges
backend bridges
  option httpchk GET /readyz
  default-server inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions
${bridges.map((each, i) => `  server bridge${i} 127.0.0.1:${each.mqtt} check port ${each.http}`).join('\n')}
`
}
