import { readFileSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { connect } from '../support/client.ts'
import { journalFromNow, must, SERVICE, sh, show, timed, until } from './machine.ts'

/**
 * The commands of docs/operations.md, as they are printed there, on a real systemd: each of them holds, and none is left
 * out. `sudo` is nothing in the box, whose user is root.
 */

const PAGE = readFileSync('/project/docs/operations.md', 'utf8')
const PACKAGE = '/out/new/limb-bridge_9.0.1_amd64.deb'
const CONFIG = '/etc/limb-bridge/limb-bridge.yaml'
const SOCKET = '/run/limb-bridge/control.sock'

/** What is not run, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  'npm ci && npm run package': 'the packages are built before the box is',
  'apt install ./limb-bridge_<version>_<arch>.deb': 'dpkg installs it in service.suite',
  'apt install --allow-downgrades ./limb-bridge_<older>.deb': 'dpkg does it in service.suite',
  'cp -p limb.sqlite.v<schema>-<time>.bak limb.sqlite': 'there is no older schema to come from',
  'mkdir newer && sudo mv limb.sqlite limb.sqlite-wal limb.sqlite-shm newer/': 'the same',
  'cd /var/lib/private/limb-bridge': 'the same',
}

/** The lines of the blocks of shell, without comments and `sudo`. */
const COMMANDS = [...PAGE.matchAll(/```sh\n([\s\S]*?)```/g)]
  .flatMap(([, block = '']) => block.split('\n'))
  .map((line) =>
    line
      .replace(/(^|\s)#.*/, '')
      .replace(/^sudo /, '')
      .trim(),
  )
  .filter((line) => line !== '')
/** Those within sentences and tables. */
const INLINE = [...PAGE.matchAll(/`((?:sudo )?(?:systemctl|journalctl|limb-bridge|systemd-analyze) [^`]*)`/g)]
  .map(([, text = '']) => text.replace(/^sudo /, ''))
  .filter((text) => !/^limb-bridge (?:mcp|simulate)/.test(text))

const ran = new Set<string>()

/** A command that the page prints, or the beginning of one of its lines, for `must` and `sh`. */
function printed(command: string): string {
  const known = [...COMMANDS, ...INLINE].some((line) => line.includes(command))
  if (!known) throw new Error(`docs/operations.md has no command ${command}`)
  ran.add(command)
  return command
}

/** What `systemctl edit` is given to type: the lines that the page prints below it. */
function edit(command: string): void {
  printed(command)
  const [, lines = ''] = new RegExp(`sudo ${command}\\n((?:#.*\\n)+)`).exec(PAGE) ?? []
  const text = lines.replace(/^# */gm, '')
  expect(text).toContain('=')
  writeFileSync('/tmp/typed', text)
  writeFileSync('/tmp/editor', '#!/bin/sh\ncat /tmp/typed >"$1"\n', { mode: 0o755 })
  // systemctl edits on a terminal only.
  must(`SYSTEMD_EDITOR=/tmp/editor script -qec '${command}' /dev/null </dev/null`)
}

function configure(text: string): void {
  writeFileSync(
    CONFIG,
    `store:\n  path: /var/lib/limb-bridge/limb.sqlite\ncontrol:\n  socket: ${SOCKET}\n${text}`,
  )
}

const actives = (...units: string[]) =>
  sh(`systemctl is-active ${units.join(' ')}`)
    .text.trim()
    .split('\n')

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host, port })
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(false))
    socket.on('data', () => socket.destroy() && resolve(true))
    socket.write(Buffer.from('100c00044d5154540402000a0000', 'hex'))
    socket.setTimeout(15_000, () => socket.destroy())
  })
}

function tlsAnswers(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTls({ host: '127.0.0.1', port: 8883, rejectUnauthorized: false }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
    socket.setTimeout(10_000, () => socket.destroy())
  })
}

const ALL = ['limb-bridge.socket', 'limb-bridge-control.socket', SERVICE]

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 })

beforeAll(() => {
  sh('dpkg -P limb-bridge; rm -rf /etc/credstore/limb-bridge.* /etc/systemd/system/limb-bridge*')
  must('systemctl daemon-reload')
})

afterAll(() => {
  sh('dpkg -P limb-bridge; userdel member; userdel other; rm -rf /etc/systemd/system/limb-bridge*')
})

describe('beside a Mosquitto', () => {
  it('the installation succeeds and says what to do', () => {
    must(
      'systemd-run --unit=squatter --collect node -e \'require("net").createServer().listen(1883, "127.0.0.1")\'',
    )
    sh('for i in $(seq 100); do ss -Hltn sport = :1883 | grep -q . && break; sleep 0.1; done')
    const text = must(`dpkg -i ${PACKAGE}`)
    expect(text).toContain('limb-bridge: cannot listen on 127.0.0.1:1883:')
    expect(text).toContain('ListenStream=127.0.0.1:1884')
    const doctor = sh(printed('limb-bridge doctor'))
    expect(doctor.status).toBe(1)
    expect(doctor.text).toMatch(
      /PROBLEM +MQTT +127\.0\.0\.1:1883 \(limb-bridge\.socket\) is not open; `ss -ltnp` names/,
    )
    must('systemctl stop squatter')
    must("systemctl reset-failed 'limb-bridge*'")
    must(printed('systemctl start limb-bridge'))
    expect(actives(...ALL)).toEqual(['active', 'active', 'active'])
  })
})

describe('the first start', () => {
  it('goes as the page says', () => {
    must('useradd -m member; useradd -m other')
    expect(must(printed('limb-bridge status'))).toMatch(/ready:\s+yes/)
    must(printed('adduser alice limb-bridge').replace('alice', 'member'))
    expect(must(printed('cat /var/lib/limb-bridge/admin-password')).trim()).toMatch(/^\w{20}$/)
    expect(must(`runuser -u member -- limb-bridge status`)).toMatch(/ready:\s+yes/)
    must(printed('limb-bridge principal set-password admin'))
  })

  it('listens on every address with the drop-in of the page, or with a port alone', async () => {
    edit('systemctl edit limb-bridge.socket')
    configure('mqtt:\n  allowPlaintext: true\n')
    must(printed('systemctl restart limb-bridge.socket limb-bridge'))
    for (const host of ['127.0.0.1', '::1']) expect(await answers(host, 1883)).toBe(true)
    expect(actives(...ALL)).toEqual(['active', 'active', 'active'])
    const drop = '/etc/systemd/system/limb-bridge.socket.d/override.conf'
    writeFileSync(drop, `[Socket]\nListenStream=\n${/`(ListenStream=1883)`/.exec(PAGE)?.[1]}\n`)
    must('systemctl daemon-reload; systemctl restart limb-bridge.socket limb-bridge')
    for (const host of ['127.0.0.1', '::1']) expect(await answers(host, 1883)).toBe(true)
    must(`rm ${drop}; systemctl daemon-reload`)
    configure('')
    must('systemctl restart limb-bridge.socket limb-bridge')
  })

  it('opens TLS beside a running service', async () => {
    must(
      'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=box ' +
        '-keyout /etc/limb-bridge/tls.key -out /etc/limb-bridge/tls.crt 2>/dev/null && ' +
        'chgrp limb-bridge /etc/limb-bridge/tls.* && chmod 640 /etc/limb-bridge/tls.*',
    )
    configure(
      'tls:\n  enabled: true\n  certFile: /etc/limb-bridge/tls.crt\n  keyFile: /etc/limb-bridge/tls.key\n',
    )
    must(printed('systemctl enable limb-bridge-tls.socket'))
    must(printed('systemctl restart limb-bridge'))
    expect(await tlsAnswers()).toBe(true)
    expect(show('FileDescriptorName', 'limb-bridge-tls.socket')).toBe('mqtts')
  })
})

describe('start, stop, reload', () => {
  it('a stop for good stays one, whoever knocks, and a start brings back all that is enabled', async () => {
    must(printed("systemctl stop 'limb-bridge*.socket' limb-bridge"))
    expect(await answers('127.0.0.1', 1883)).toBe(false)
    expect(await tlsAnswers()).toBe(false)
    expect(actives(...ALL, 'limb-bridge-tls.socket')).toEqual(Array(4).fill('inactive'))
    must(printed('systemctl start limb-bridge'))
    expect(actives(...ALL, 'limb-bridge-tls.socket')).toEqual(Array(4).fill('active'))
    expect(await tlsAnswers()).toBe(true)
  })

  it('a stop lasts until somebody connects', async () => {
    must(printed('systemctl stop limb-bridge'))
    expect(show('ActiveState')).toBe('inactive')
    expect(await answers('127.0.0.1', 1883)).toBe(true)
    must(printed('systemctl reload limb-bridge'))
    expect(must(printed('systemctl status limb-bridge'))).toContain('limbs online')
    expect(must(printed('systemd-analyze security limb-bridge'))).toContain('exposure level')
  })
})

describe('backup and restore', () => {
  it('goes as the page says, with TLS', async () => {
    must(printed('limb-bridge backup create'))
    must(printed("systemctl stop 'limb-bridge*.socket' limb-bridge"))
    const restore = printed(
      'limb-bridge restore /var/lib/limb-bridge/backups/limb-<time>.sqlite --config /etc/limb-bridge/limb-bridge.yaml',
    )
    must(restore.replace('limb-<time>.sqlite', '$(ls /var/lib/limb-bridge/backups | tail -n 1)'))
    must(printed('systemctl start limb-bridge'))
    expect(must(printed('limb-bridge doctor'))).toMatch(/\b0 problems/)
    expect(await tlsAnswers()).toBe(true)
  })
})

describe('more memory and descriptors', () => {
  it('come with the drop-in of the page, and the doctor looks at those of the service', () => {
    configure('mqtt:\n  maxConnections: 100000\n')
    must('systemctl stop limb-bridge-tls.socket; systemctl restart limb-bridge')
    expect(sh('limb-bridge doctor').text).toMatch(
      /WARNING +open files +the service may open 65536, and .* needs 100100/,
    )
    edit('systemctl edit limb-bridge')
    must('systemctl restart limb-bridge')
    expect([show('MemoryMax'), show('LimitNOFILE')]).toEqual([String(8 * 1024 ** 3), '262144'])
    expect(must('ulimit -n 1024; limb-bridge doctor')).toMatch(/ok +open files +up to 262144/)
    must('rm -r /etc/systemd/system/limb-bridge.service.d; systemctl daemon-reload')
    configure('')
    must('systemctl restart limb-bridge')
  })
})

describe('the log', () => {
  it('has priorities and an identifier of its own in the journal', async () => {
    const said = journalFromNow()
    const stranger = await connect({ port: 1883 }, { username: 'admin', password: 'wrong' }).catch(() => null)
    expect(stranger).toBeNull()
    await until('the refusal is told', () => said().includes('sign-in refused'))
    const warnings = must(printed('journalctl -u limb-bridge -p warning -o cat'))
    expect(warnings).toContain('"msg":"sign-in refused: wrong password"')
    expect(warnings).not.toContain('"level":"info"')
    expect(must('journalctl -t limb-bridge -p warning -o cat')).toContain('sign-in refused')
    expect(must('journalctl -t limb-bridge -o cat -n 500')).not.toMatch(/^<\d>/m)
    expect(
      must(
        `timeout 3 ${printed("journalctl -u limb-bridge -f -o cat | jq -r '[.time, .level, .msg] | @tsv'").split(' | ')[0]} || true`,
      ),
    ).toContain('"level"')
  })

  it('has the code in the line that asks for an approval', async () => {
    const said = journalFromNow()
    const device = await connect(
      { port: 1883 },
      { username: 'lamp', password: 'a-key-of-more-than-twenty-characters' },
    )
    await device.subscribe('limb/node/lamp/pairing')
    await device.publish('limb/node/lamp/register', {
      displayName: 'Lamp',
      platform: 'test',
      capabilities: [{ cap: 'lamp', commands: ['lamp.on'], authLevel: 'free' }],
    })
    const { json } = await device.next('limb/node/lamp/pairing')
    await until('the request is told', () => said().includes(`compare the code ${json.code} with the device`))
    await device.end()
  })
})

describe('a start that fails', () => {
  const MISTAKE = 'mqtt:\n  grants: {}\n'

  it('with status 78 is not repeated, but begins anew for everybody who connects', async () => {
    configure(
      'tls:\n  enabled: true\n  certFile: /etc/limb-bridge/gone.crt\n  keyFile: /etc/limb-bridge/tls.key\n',
    )
    expect(sh('systemctl restart limb-bridge').status).not.toBe(0)
    expect([show('ExecMainStatus'), show('NRestarts'), show('ActiveState')]).toEqual(['78', '0', 'failed'])
    const before = show('InvocationID')
    await sleep(4000)
    expect(show('InvocationID')).toBe(before)
    expect(await answers('127.0.0.1', 1883)).toBe(false)
    await until('another start', () => show('InvocationID') !== before)
    await until('it has failed', () => show('ActiveState') === 'failed')
    const after = show('InvocationID')
    await sleep(2000)
    expect([show('InvocationID'), show('ActiveState')]).toEqual([after, 'failed'])
  })

  it('is named by status and doctor at once, with its last words, for root and for a member of the group', async () => {
    await until('it has failed', () => show('ActiveState') === 'failed')
    const expected =
      /limb-bridge\.service has failed \(exit status 78\): .*tls\.certFile: cannot read \/etc\/limb-bridge\/gone\.crt/
    for (const who of ['', 'runuser -u member -- ']) {
      let status = { status: 0, text: '' }
      const ms = await timed(() => {
        status = sh(`${who}limb-bridge status`)
      })
      expect(status.status).toBe(3)
      expect(status.text).toMatch(expected)
      expect(ms).toBeLessThan(15_000)
      const doctor = sh(`${who}limb-bridge doctor`)
      expect(doctor.status).toBe(1)
      expect(doctor.text).toMatch(expected)
      expect(doctor.text).not.toMatch(/another program|control\.sock answers/)
    }
    const other = sh('runuser -u other -- limb-bridge doctor')
    expect(other.text).toMatch(expected)
  })

  it('is named by status while somebody knocks again and again', async () => {
    const stop = new AbortController()
    const knocking = (async () => {
      while (!stop.signal.aborted) {
        connectTcp({ host: '127.0.0.1', port: 1883 }).on('error', () => undefined)
        await sleep(100)
      }
    })()
    await sleep(500)
    const { status, text } = sh('timeout 30 limb-bridge status')
    stop.abort()
    await knocking
    expect(status).toBe(3)
    expect(text).toMatch(/limb-bridge\.service has failed .*gone\.crt/)
  })

  it('of a file with a mistake is told with its place', async () => {
    configure(MISTAKE)
    sh("systemctl reset-failed 'limb-bridge*'; systemctl restart limb-bridge")
    expect(must('journalctl -u limb-bridge -p crit -n 1 -o cat')).toContain('mqtt.grants')
    expect(show('StatusText')).toContain('mqtt.grants')
  })

  it('stays down after 30 of them, closes the ports, and comes back as the page says', async () => {
    const knock = () => connectTcp({ host: '127.0.0.1', port: 1883 }).on('error', () => undefined)
    await until(
      'systemd gives up',
      () => {
        knock()
        return show('ActiveState', 'limb-bridge.socket') === 'failed'
      },
      250_000,
    )
    expect(await answers('127.0.0.1', 1883)).toBe(false)
    configure('')
    must(printed("systemctl reset-failed 'limb-bridge*'"))
    must(printed('systemctl restart limb-bridge'))
    expect(actives(...ALL)).toEqual(['active', 'active', 'active'])
    expect(await answers('127.0.0.1', 1883)).toBe(true)
  })
})

describe('the doctor', () => {
  it('finds nothing wrong for a member of the group, who may not look at the database', () => {
    const { status, text } = sh('runuser -u member -- limb-bridge doctor')
    expect(text).toMatch(
      /WARNING +database +not looked at: .* is for the service alone; run `sudo limb-bridge doctor`/,
    )
    expect(text).toMatch(/ok +ready/)
    expect([status, text.includes('PROBLEM')]).toEqual([0, false])
  })

  it('says to another user, the service’s own too, what anybody may see', () => {
    for (const who of ['other', '_limb-bridge']) {
      const { status, text } = sh(`runuser -u ${who} -- limb-bridge doctor`)
      expect(text).toMatch(
        /WARNING +configuration +\/etc\/limb-bridge\/limb-bridge\.yaml is not for this user/,
      )
      // The bus of systemd does not answer everybody; then the doctor says that, and guesses nothing.
      expect(text).toMatch(
        who === 'other'
          ? /ok +service +limb-bridge\.service runs/
          : /(?:ok +service +limb-bridge\.service runs|WARNING +service +systemd does not tell this user)/,
      )
      expect([status, text.includes('PROBLEM')]).toEqual([0, false])
    }
  })

  it('and the check of the configuration name a key that the service may not read', () => {
    const check = () => sh(printed('limb-bridge config check /etc/limb-bridge/limb-bridge.yaml')).text
    configure(
      'tls:\n  enabled: true\n  certFile: /etc/limb-bridge/tls.crt\n  keyFile: /etc/limb-bridge/tls.key\n',
    )
    expect(check()).not.toContain('cannot read')
    must('chmod 600 /etc/limb-bridge/tls.key')
    expect(check()).toMatch(
      /tls\.keyFile: cannot read \/etc\/limb-bridge\/tls\.key: the service may not read it/,
    )
    // As certbot leaves it: the file is for everybody, its folder for root.
    must(
      'mkdir -p -m 700 /etc/archive && cp /etc/limb-bridge/tls.key /etc/archive/ && chmod 644 /etc/archive/tls.key',
    )
    configure(
      'tls:\n  enabled: true\n  certFile: /etc/limb-bridge/tls.crt\n  keyFile: /etc/archive/tls.key\n',
    )
    expect(check()).toMatch(/\/etc\/archive\/tls\.key: the service may not read it/)
    must('cp /etc/limb-bridge/tls.key /home/tls.key && chmod 644 /home/tls.key')
    configure('tls:\n  enabled: true\n  certFile: /etc/limb-bridge/tls.crt\n  keyFile: /home/tls.key\n')
    expect(check()).toMatch(/\/home\/tls\.key: the service cannot see it there/)
    expect(sh('limb-bridge doctor').text).toMatch(/PROBLEM +configuration +tls\.keyFile/)
    configure('')
  })
})

describe('the page', () => {
  it('has no command in its blocks that was not run here, nor is left out for a reason', () => {
    const known = (line: string) =>
      [...ran].some((command) => line.includes(command)) ||
      Object.keys(LEFT_OUT).some((left) => line.includes(left))
    expect(COMMANDS.filter((line) => !known(line))).toEqual([])
    expect(COMMANDS.length).toBeGreaterThan(15)
  })
})
