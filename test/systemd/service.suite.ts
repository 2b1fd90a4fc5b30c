import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type TestClient } from '../support/client.ts'
import { knocking } from './knocking.ts'
import {
  active,
  journal,
  journalFromNow,
  mainPid,
  meanwhile,
  must,
  SERVICE,
  sh,
  show,
  timed,
  until,
} from './machine.ts'
import { serviceMemory } from './memory.ts'

/** The life of the package on a real systemd, in order: each part goes on where the one before ended. */

const OLD = '/out/old/limb-bridge_9.0.0_amd64.deb'
const AGAIN = '/out/again/limb-bridge_9.0.0_amd64.deb'
const NEW = '/out/new/limb-bridge_9.0.1_amd64.deb'
const CONFIG = '/etc/limb-bridge/limb-bridge.yaml'
const STATE = '/var/lib/private/limb-bridge'
const SOCKET = '/run/limb-bridge/control.sock'
const PORT = 1883
const KEY = 'a-key-of-more-than-twenty-characters'
const MIB = 1024 ** 2
const REGISTRATION = {
  displayName: 'Lamp',
  platform: 'test',
  capabilities: [{ cap: 'lamp', commands: ['lamp.on'], authLevel: 'free' }],
}

/** Gone with the connection when the bridge ends; the next part makes new ones. */
const clients: TestClient[] = []
async function keep(client: Promise<TestClient>): Promise<TestClient> {
  const connected = await client
  clients.push(connected)
  return connected
}
const admin = () => keep(connect({ socket: SOCKET }))
const limb = (name = 'lamp') =>
  keep(connect({ port: PORT }, { username: name, password: KEY, keepalive: 60 }))

async function statusOf(name: string): Promise<string> {
  const watcher = await admin()
  await watcher.subscribe(`limb/node/${name}/status`)
  const { text } = await watcher.next(`limb/node/${name}/status`)
  await watcher.end()
  return text
}

async function pair(name: string): Promise<TestClient> {
  const operator = await admin()
  const device = await limb(name)
  await device.subscribe(`limb/node/${name}/pairing`)
  await device.publish(`limb/node/${name}/register`, REGISTRATION)
  const { json } = await device.next(`limb/node/${name}/pairing`)
  await operator.do('admin', 'pairing/approve', { requestId: json.requestId })
  await device.next((message) => message.json.status === 'approved')
  await operator.end()
  return device
}

function configure(text: string): void {
  writeFileSync(
    CONFIG,
    `store:\n  path: /var/lib/limb-bridge/limb.sqlite\ncontrol:\n  socket: ${SOCKET}\n${text}`,
  )
}

function dropIn(text: string): void {
  must(`mkdir -p /etc/systemd/system/${SERVICE}.d`)
  writeFileSync(`/etc/systemd/system/${SERVICE}.d/test.conf`, text)
  must('systemctl daemon-reload')
}

async function handshake(): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port: 8883, rejectUnauthorized: false })
  socket.on('error', () => {})
  await once(socket, 'secureConnect', { signal: AbortSignal.timeout(10_000) })
  return socket
}

async function ready(): Promise<{ status: number; reasons: string[] }> {
  const response = await fetch('http://127.0.0.1:8083/readyz')
  const { reasons } = (await response.json()) as { reasons: string[] }
  return { status: response.status, reasons }
}

afterAll(() => {
  for (const client of clients) client.mqtt.end(true)
})

describe('the package', () => {
  it('has the same bytes when it is built twice, in another time zone and with another umask', () => {
    const hash = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')
    expect(hash(OLD)).toBe(hash(AGAIN))
  })

  it('installs without a question, and the bridge is ready when dpkg returns', () => {
    must(`dpkg -i ${OLD}`)
    expect(show('ActiveState')).toBe('active')
    expect(show('StatusText')).toBe('0 of 0 limbs online, 0 pending, 0 sessions')
    expect(must('limb-bridge --version').trim()).toBe('9.0.0')
  })

  it('enables the service and its sockets for the next boot', () => {
    const units = `${SERVICE} limb-bridge.socket limb-bridge-control.socket`
    expect(must(`systemctl is-enabled ${units}`).trim().split('\n')).toEqual([
      'enabled',
      'enabled',
      'enabled',
    ])
    expect(sh('systemctl is-enabled limb-bridge-http.socket').text.trim()).toBe('disabled')
  })

  it('has units that systemd has no complaint about', () => {
    expect(must(`systemd-analyze verify ${SERVICE} limb-bridge.socket limb-bridge-control.socket`)).toBe('')
  })

  it('confines the service to an exposure of at most 1.5', () => {
    const text = must(`systemd-analyze security --no-pager --threshold=15 ${SERVICE}`)
    console.log(text.trim().split('\n').at(-1))
    expect(Number(/level for \S+: ([\d.]+)/.exec(text)?.[1])).toBeLessThanOrEqual(1.5)
  })

  it('bounds memory, tasks and descriptors', () => {
    const numbers = ['MemoryMax', 'TasksMax', 'LimitNOFILE', 'LimitCORE'].map((name) => Number(show(name)))
    expect(numbers).toEqual([2 * 1024 ** 3, 64, 65_536, 0])
  })

  it('stays within MemoryMax while strangers fill what they can, and is started again when it does not', async () => {
    const flood = (seconds: number) =>
      meanwhile(
        `node /project/test/pressure/attack.ts 'bytes of strangers' 'WebSockets with a frame that is never whole' ` +
          `'${JSON.stringify({ mqtt: PORT, http: 8083, seconds })}'`,
      )
    dropIn('[Service]\nMemoryHigh=400M\nMemoryMax=400M\n')
    must('systemctl restart limb-bridge')
    await active()
    const roomy = serviceMemory()
    try {
      expect(roomy.boundBytes()).toBe(400 * MIB)
      const pid = mainPid()
      await flood(5)
      expect([mainPid(), roomy.kills(), show('NRestarts')]).toEqual([pid, 0, '0'])
      expect(must('limb-bridge status')).toMatch(/version:\s+9\.0\.0/)
      must('systemctl restart limb-bridge')
      await active()
      // With next to no room more than it has: the kernel ends it, and systemd starts it again.
      const tight = serviceMemory()
      const before = mainPid()
      tight.bound(tight.usedBytes() + 4 * MIB)
      await flood(3)
      await until('it was started again', () => mainPid() > 0 && mainPid() !== before, 30_000)
      tight.remove()
    } finally {
      dropIn('')
      must('systemctl reset-failed limb-bridge; systemctl restart limb-bridge')
      await active()
      roomy.remove()
    }
    expect(must('limb-bridge status')).toMatch(/version:\s+9\.0\.0/)
  }, 240_000)

  it('keeps its state from everybody, and its configuration from those outside the group', () => {
    expect(
      must(`stat -c %a ${STATE} ${STATE}/limb.sqlite ${STATE}/admin-password`).split('\n').slice(0, 3),
    ).toEqual(['700', '600', '600'])
    expect(must(`stat -c %U:%G:%a ${CONFIG}`).trim()).toBe('root:limb-bridge:640')
  })

  it('lets the group administer the bridge, and nobody else', () => {
    must('useradd -G limb-bridge friend && useradd stranger')
    expect(must('runuser -u friend -- limb-bridge status')).toMatch(/version:\s+9\.0\.0/)
    const refused = sh('runuser -u stranger -- limb-bridge status')
    expect(refused.status).toBe(3)
  })

  it('brings manual pages and completion', () => {
    expect(must('dpkg -L limb-bridge')).toMatch(
      /man1\/limb-bridge\.1\.gz\n[\s\S]*man5\/limb-bridge\.yaml\.5\.gz\n/,
    )
    expect(
      must('source /usr/share/bash-completion/completions/limb-bridge && complete -p limb-bridge'),
    ).toContain('limb-bridge')
  })

  it('keeps the queue of the sockets as long as the kernel allows', () => {
    const most = must('cat /proc/sys/net/core/somaxconn').trim()
    expect(must(`ss -Hltn 'sport = :${PORT}'`).split(/\s+/)[2]).toBe(most)
  })
})

describe('the running service', () => {
  it('pairs a limb', async () => {
    const device = await pair('lamp')
    await device.publish('limb/node/lamp/heartbeat')
    await until('the limb is online', async () => (await statusOf('lamp')) === 'online')
  })

  it('tells its counts to systemctl status', async () => {
    await until('the counts are told', () => show('StatusText').startsWith('1 of 1 limbs online'), 15_000)
  })

  describe('at a reload', () => {
    it('takes over what is live without dropping a session, and says what needs a restart', async () => {
      const device = await limb()
      const said = journalFromNow()
      configure('log:\n  level: debug\nmqtt:\n  maxKeepaliveSeconds: 50\n  topicRoot: other\n')
      must('systemctl reload limb-bridge')
      await until('the reload is told', () => /needs? a restart/.test(said()))
      expect(said()).toContain('"changed":["mqtt.maxKeepaliveSeconds","log.level"]')
      expect(said()).toContain('these settings need a restart: mqtt.topicRoot')
      expect(device.mqtt.connected).toBe(true)
      await device.publish('limb/node/lamp/heartbeat')
      await expect(limb()).rejects.toThrow(/[Ii]dentifier rejected/)
      expect(show('ActiveState')).toBe('active')
    })

    it('refuses a file with mistakes, and goes on as it was', async () => {
      const pid = mainPid()
      const said = journalFromNow()
      configure('mqtt:\n  maxKeepaliveSeconds: many\n')
      expect(sh('systemctl reload limb-bridge').status).not.toBe(0)
      expect(said()).toContain('mqtt.maxKeepaliveSeconds')
      expect(mainPid()).toBe(pid)
      await expect(limb()).rejects.toThrow()
      configure('')
      must('systemctl reload limb-bridge')
      await until('the old limit is back', async () =>
        limb().then(
          () => true,
          () => false,
        ),
      )
    })
  })

  it('reloads a certificate: sessions keep theirs, the next one sees the new one', async () => {
    const renew = (name: string) =>
      must(
        `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=${name} ` +
          '-keyout /etc/limb-bridge/tls.key -out /etc/limb-bridge/tls.crt && ' +
          'chgrp limb-bridge /etc/limb-bridge/tls.* && chmod 640 /etc/limb-bridge/tls.*',
      )
    renew('first')
    configure(
      'tls:\n  enabled: true\n  certFile: /etc/limb-bridge/tls.crt\n  keyFile: /etc/limb-bridge/tls.key\n',
    )
    must(`systemctl start limb-bridge-tls.socket; systemctl restart ${SERVICE}`)
    const session = await handshake()
    expect(session.getPeerCertificate().subject.CN).toBe('first')
    renew('second')
    must('systemctl reload limb-bridge')
    await until('the new certificate is in use', async () => {
      const next = await handshake()
      const name = next.getPeerCertificate().subject.CN
      next.destroy()
      return name === 'second'
    })
    expect(session.closed).toBe(false)
    session.destroy()
    configure('')
    must(`rm /etc/limb-bridge/tls.*; systemctl stop limb-bridge-tls.socket; systemctl restart ${SERVICE}`)
  })

  it('refuses no connection while it is upgraded under load', async () => {
    const pid = mainPid()
    const knocks = knocking(PORT, 20)
    await until('the load runs', () => knocks.soFar.answered > 20)
    await meanwhile(`dpkg -i ${NEW}`)
    await active()
    expect(mainPid()).not.toBe(pid)
    const atRestart = knocks.soFar.answered
    await until('the new bridge answers', () => knocks.soFar.answered > atRestart + 20)
    const outcome = await knocks.stop()
    console.log('upgrade under load:', JSON.stringify(outcome))
    expect(outcome.refused).toBe(0)
    expect(outcome.late).toBe(0)
    expect(outcome.answered).toBeGreaterThan(50)
    expect(must('limb-bridge status')).toMatch(/version:\s+9\.0\.1/)
  })

  it('comes back after kill -9 with its limbs offline, and online at their next heartbeat', async () => {
    must('systemctl reset-failed limb-bridge')
    const device = await limb()
    await device.publish('limb/node/lamp/heartbeat')
    await until('the limb is online', async () => (await statusOf('lamp')) === 'online')
    const pid = mainPid()
    process.kill(pid, 'SIGKILL')
    await until('another process', () => ![0, pid].includes(mainPid()))
    await active()
    expect(await statusOf('lamp')).toBe('offline')
    const back = await limb()
    await back.publish('limb/node/lamp/heartbeat')
    await until('the limb is online', async () => (await statusOf('lamp')) === 'online')
  })

  it('is started anew by the watchdog when its event loop is frozen', async () => {
    dropIn('[Service]\nWatchdogSec=3s\n')
    must(`systemctl restart ${SERVICE}`)
    const restarts = Number(show('NRestarts'))
    const said = journalFromNow()
    const pid = mainPid()
    process.kill(pid, 'SIGSTOP')
    await until('the watchdog acts', () => ![0, pid].includes(mainPid()))
    await active()
    expect(said()).toMatch(/Watchdog timeout/)
    expect(Number(show('NRestarts'))).toBe(restarts + 1)
  })

  it('is left alone by the watchdog while it answers', async () => {
    const pid = mainPid()
    const fed = show('WatchdogTimestampMonotonic')
    await until(
      'the watchdog is fed twice',
      () => Number(show('WatchdogTimestampMonotonic')) > Number(fed) + 1_500_000,
    )
    expect(mainPid()).toBe(pid)
  })

  it('refuses pairings on a full disk, keeps presence, and heals when there is room', async () => {
    must(`systemctl stop limb-bridge.socket limb-bridge-control.socket ${SERVICE}`)
    must(`cp -a ${STATE} /var/lib/private/kept && mount -t tmpfs -o size=4m,mode=0700 tmpfs ${STATE}`)
    must(`cp -a /var/lib/private/kept/. ${STATE}/ && systemctl start ${SERVICE}`)
    const pid = mainPid()
    const device = await limb()
    await device.publish('limb/node/lamp/heartbeat')
    sh(`head -c 8M /dev/zero >${STATE}/ballast`)

    const candidate = await limb('newcomer')
    await candidate.subscribe('limb/node/newcomer/pairing')
    const answers: string[] = []
    // What is in the WAL already may be written over, so the first few can still succeed.
    await until('a pairing is refused', async () => {
      await candidate.publish('limb/node/newcomer/register', {
        ...REGISTRATION,
        firmware: 'x'.repeat(answers.length),
      })
      const { json } = await candidate.next('limb/node/newcomer/pairing')
      answers.push(json.error?.code ?? json.status)
      return json.error?.code === 'storage_unavailable'
    })
    expect((await ready()).status).toBe(503)
    await device.publish('limb/node/lamp/heartbeat', { status: 'busy' })
    await until('the limb is busy', async () => (await statusOf('lamp')) === 'busy')

    must(`rm ${STATE}/ballast`)
    await until('a pairing is taken again', async () => {
      await candidate.publish('limb/node/newcomer/register', REGISTRATION)
      return (await candidate.next('limb/node/newcomer/pairing')).json.status === 'pending'
    })
    await until('it is ready again', async () => (await ready()).status === 200)
    expect(mainPid()).toBe(pid)
  })

  it('stops within five seconds with a few hundred limbs connected, and says so', async () => {
    const others = await Promise.all(Array.from({ length: 300 }, (_, i) => limb(`candidate-${i}`)))
    expect(others.every((client) => client.mqtt.connected)).toBe(true)
    const ms = await timed(() =>
      must(`systemctl stop limb-bridge.socket limb-bridge-control.socket ${SERVICE}`),
    )
    console.log(`stopped in ${ms.toFixed(0)} ms`)
    expect(ms).toBeLessThan(5000)
    expect(show('Result')).toBe('success')
    expect(journal(5)).toContain('"msg":"stopped"')
    expect(sh(`umount ${STATE} && rm -rf /var/lib/private/kept`).status).toBe(0)
  })

  it('is started by the first who connects', async () => {
    must('systemctl start limb-bridge.socket limb-bridge-control.socket')
    expect(show('ActiveState')).toBe('inactive')
    await limb()
    // It answers before systemd has read that it is ready.
    await active()
  })
})

describe('a downgrade', () => {
  beforeAll(() => {
    must(`systemctl stop limb-bridge.socket limb-bridge-control.socket ${SERVICE}`)
  })

  const setSchema = (version: string) =>
    must(
      `node --no-warnings -e 'new (require("node:sqlite").DatabaseSync)("${STATE}/limb.sqlite").exec("PRAGMA user_version = ${version}")'`,
    )

  it('is refused with a clear message when the database has a newer schema, and changes nothing', () => {
    const schema = must(
      `node --no-warnings -p 'new (require("node:sqlite").DatabaseSync)("${STATE}/limb.sqlite").prepare("PRAGMA user_version").get().user_version'`,
    ).trim()
    setSchema('99')
    const refused = sh(`dpkg -i ${OLD}`)
    expect(refused.status).not.toBe(0)
    expect(refused.text).toMatch(/was written by a newer version of the bridge \(schema 99\)/)
    const installed = must('dpkg-query -s limb-bridge')
    expect(installed).toContain('Status: install ok installed\n')
    expect(installed).toContain('Version: 9.0.1\n')

    const said = journalFromNow()
    sh(`systemctl start ${SERVICE}`)
    expect(said()).toContain('has schema 99')
    sh(
      `systemctl stop ${SERVICE} limb-bridge.socket limb-bridge-control.socket; systemctl reset-failed ${SERVICE}`,
    )
    setSchema(schema)
  })

  it('is done when the schema is known', () => {
    must(`dpkg -i ${OLD} && systemctl start ${SERVICE}`)
    expect(must('limb-bridge --version').trim()).toBe('9.0.0')
    expect(show('ActiveState')).toBe('active')
  })
})

describe('the end', () => {
  it('leaves configuration and state when the package is removed, and closes the ports', () => {
    must('dpkg -r limb-bridge')
    expect(existsSync(`${STATE}/limb.sqlite`)).toBe(true)
    expect(existsSync(CONFIG)).toBe(true)
    expect(must(`ss -Hltn 'sport = :${PORT}'`)).toBe('')
    expect(sh(`systemctl cat ${SERVICE}`).status).not.toBe(0)
  })

  it('purges without a question, and takes state and configuration along', () => {
    must('dpkg -P limb-bridge')
    for (const path of [STATE, '/var/lib/limb-bridge', '/etc/limb-bridge', '/usr/lib/limb-bridge', SOCKET]) {
      expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined()
    }
    expect(sh("systemctl list-units --all --no-legend 'limb-bridge*'").text).toBe('')
    expect(sh('systemctl --failed --no-legend').text).toBe('')
  })

  it('takes the password of admin from a credential when it is installed anew', async () => {
    must(
      'mkdir -p /etc/credstore && umask 077 && echo correct-horse-battery >/etc/credstore/limb-bridge.admin-password',
    )
    sh(`rm -r /etc/systemd/system/${SERVICE}.d`)
    must(`dpkg -i ${NEW}`)
    const signedIn = await keep(
      connect({ port: PORT }, { username: 'admin', password: 'correct-horse-battery' }),
    )
    expect(signedIn.mqtt.connected).toBe(true)
    expect(existsSync(`${STATE}/admin-password`)).toBe(false)
  })
})
