import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { GENERATORS, outdated } from '../../../scripts/docs.ts'
import { type Config, ConfigError, resolveConfig } from '../../../src/host/config/config.ts'
import { configYaml } from '../../../src/host/config/documents.ts'
import { ENVIRONMENT_VARIABLES } from '../../../src/host/config/env.ts'
import { parseConfigFile } from '../../../src/host/config/file.ts'
import { LEAVES } from '../../../src/host/config/leaves.ts'
import { loadConfig } from '../../../src/host/config/load.ts'
import { configText, shownSettings } from '../../../src/host/config/show.ts'

const folder = mkdtempSync(join(tmpdir(), 'limb-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

function load(yaml: string, env: Record<string, string> = {}) {
  return resolveConfig(parseConfigFile('bridge.yaml', yaml), env)
}

function problems(yaml: string, env: Record<string, string> = {}): string {
  try {
    load(yaml, env)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message
  }
  throw new Error('the configuration was accepted')
}

describe('defaults', () => {
  test('without a file and without variables the protocol’s defaults hold', () => {
    const { config, warnings, file } = loadConfig({ env: {} })
    expect(config).toMatchObject({
      mqtt: { host: '127.0.0.1', port: 1883, topicRoot: 'limb', allowPlaintext: false, grants: [] },
      http: { host: '127.0.0.1', port: 8083, enabled: true, token: null },
      control: { socket: 'data/control.sock', mode: '0660' },
      store: { path: 'data/limb.sqlite' },
      pairing: { pendingSeconds: 86400, rejectedSeconds: 86400, maxPending: 1000, maxPendingPerAddress: 10 },
      presence: { heartbeatSeconds: 15, timeoutSeconds: 45, graceSeconds: 5, stateRefreshSeconds: 60 },
    } satisfies DeepPartial<Config>)
    expect(warnings).toEqual([])
    expect(file).toBeUndefined()
  })

  test('the shipped file says nothing but the defaults', () => {
    expect(load(configYaml()).config).toEqual(loadConfig({ env: {} }).config)
  })

  test('every key says what it means', () => {
    expect(LEAVES.filter((leaf) => leaf.description.length < 10)).toEqual([])
  })

  test('the control socket stands beside the database', () => {
    expect(load('store: {path: /var/lib/limb/x.sqlite}').config.control.socket).toBe(
      '/var/lib/limb/control.sock',
    )
    expect(load('', { LIMB_DB: ':memory:' }).config.control.socket).toBe('data/control.sock')
  })

  test('a section whose keys are all commented out has its defaults', () => {
    expect(load('mqtt:\n  # port: 1\n').config.mqtt.port).toBe(1883)
  })
})

describe('uplinks', () => {
  const uplink = (more = '') =>
    `uplinks:\n  - {name: home, url: "mqtt://127.0.0.1:1883", prefix: site1${more}}\n`

  test('have defaults, and none is there by itself', () => {
    expect(load('').config.uplinks).toEqual([])
    expect(load('uplinks:\n').config.uplinks).toEqual([])
    expect(load(uplink()).config.uplinks[0]).toMatchObject({ protocolVersion: 'auto', qos: 1, data: [] })
  })

  test.each([
    [', dta: []', 'uplinks[0].dta: unknown key; did you mean uplinks[0].data?'],
    [', data: ["bridge/#"]', 'is not a filter of data topics'],
    [', data: ["#"]', 'is not a filter of data topics'],
    [', qos: 2', 'uplinks[0].qos: found 2; allowed: `0` or `1`'],
    [', protocolVersion: 3', 'allowed: `auto`, `4` for MQTT 3.1.1, or `5`'],
    [', password: x, passwordFile: y', 'uplinks[0].passwordFile: stands beside password'],
    [', url: "mqtt://192.0.2.1"', 'set allowPlaintext: true in this uplink'],
    [', url: "mqtt://user:secret@127.0.0.1"', 'no user name in it'],
    [', url: "mqtt://127.0.0.1:99999"', 'is not such a URL'],
  ])('with %s are refused', (more, text) => {
    const yaml = more.includes('url:') ? `uplinks:\n  - {name: home, prefix: site1${more}}\n` : uplink(more)
    expect(problems(yaml)).toContain(text)
  })

  test('have names and places of their own', () => {
    const twice = uplink() + uplink().split('\n')[1]
    expect(problems(twice)).toContain('uplinks[1].name: found "home" a second time')
    expect(problems(twice)).toContain('uplinks[1].prefix: found "site1" a second time')
  })

  test('never show their password', () => {
    const loaded = load(uplink(', username: me, password: hunter2secret'))
    expect(configText(loaded)).toContain('username: me')
    expect(configText(loaded)).not.toContain('hunter2secret')
    expect(problems('uplinks: {home: {password: hunter2secret}}')).not.toContain('hunter2secret')
    expect(problems('uplinks: [{password: [hunter2secret]}]')).not.toContain('hunter2secret')
    for (const url of [
      'mqtts://me:hunter2secret@host',
      'mqtt://me:hunter2secret/@x@host/p',
      'me:hunter2secret@host',
    ]) {
      const text = problems(`uplinks: [{name: x, prefix: y, url: "${url}"}]`)
      expect(text).not.toContain('hunter2secret')
      expect(text).toContain('host')
    }
  })

  test('leave Home Assistant a prefix of its own', () => {
    expect(problems('homeAssistant: {enabled: true, prefix: limb}')).toContain('homeAssistant.prefix')
    expect(problems('homeAssistant: {enabled: true, prefix: limb/ha}')).toContain('must be apart from `limb`')
    expect(problems(`${uplink(', homeAssistant: true')}homeAssistant: {prefix: site1}`)).toContain(
      'must be apart from `site1`',
    )
    expect(load('homeAssistant: {prefix: limb}').config.homeAssistant.enabled).toBe(false)
  })
})

describe('mistakes', () => {
  test('an unknown key is named with its line and the nearest known one', () => {
    expect(problems('mqtt:\n  host: 127.0.0.1\n  prot: 1884\n')).toBe(
      'bridge.yaml:3: mqtt.prot: unknown key; did you mean mqtt.port?',
    )
    expect(problems('mqtt:\n  allow_plaintext: true\n')).toContain('did you mean mqtt.allowPlaintext?')
  })

  test('a key that is near to none is answered with those that are known there', () => {
    expect(problems('control:\n  nope: 1\n')).toBe(
      'bridge.yaml:2: control.nope: unknown key; known here: socket, mode',
    )
    expect(problems('nope: 1\n')).toMatch(
      /^bridge\.yaml:1: nope: unknown key; known here: mqtt, tls, http, control,/,
    )
    expect(problems('mqtt: {hsot: x}')).toContain('did you mean mqtt.host?')
    expect(problems('mqtt: {topicRoots: x}')).toContain('did you mean mqtt.topicRoot?')
  })

  test('a key in the wrong section is sent to the right one', () => {
    expect(problems('mqtt:\n  graceSeconds: 3\n')).toContain('did you mean presence.graceSeconds?')
  })

  test('has no topics longer than the store can keep', () => {
    const long = 'mqtt: {maxTopicBytes: 2049}'
    expect(problems(`${long}\nstore: {kind: postgres, url: 'postgres://limb@localhost/limb'}`)).toContain(
      'mqtt.maxTopicBytes: found 2049; at most 2048 with store.kind: postgres',
    )
    expect(problems('mqtt: {maxTopicBytes: 2048}\nstore: {kind: postgres}')).not.toContain('maxTopicBytes')
  })

  test('a bad value says what was found and what is allowed', () => {
    expect(problems('mqtt:\n  port: 70000\n')).toBe(
      'bridge.yaml:2: mqtt.port: found 70000; allowed: a whole number from 0 to 65535',
    )
    expect(problems('log: {level: loud}')).toContain('log.level: found "loud"; allowed: one of `trace`')
    expect(problems('control: {mode: 0660}')).toContain('it must be quoted')
  })

  test('every problem is told at once', () => {
    const text = problems('mqtt: {port: x, host: 5}\nfoo: 1\n')
    expect(text.split('\n')).toHaveLength(3)
  })

  test('an entry of a list is named by its place', () => {
    expect(problems('mqtt:\n  grants:\n    - to: ha\n      publish: ["a#"]\n')).toContain(
      'mqtt.grants[0].publish[0]: found "a#"',
    )
  })

  test('what several rules find wrong with one value is told once', () => {
    expect(problems('http: {token: [1, 2]}').split('\n')).toHaveLength(1)
  })

  test('a secret that is too short is not shown', () => {
    const text = problems('http: {token: hunter2}')
    expect(text).toContain('http.token')
    expect(text).not.toContain('hunter2')
  })

  test('a timeout must be longer than the heartbeat interval', () => {
    expect(problems('presence: {heartbeatSeconds: 60}')).toContain('presence.timeoutSeconds: found 45')
  })

  test('grants may not reach below the root, nor into $SYS', () => {
    expect(problems('mqtt: {grants: [{to: ha, publish: ["limb/node/x/status"]}]}')).toContain(
      'grant topics outside it',
    )
    for (const filter of ['#', '+/#', '+/a', '+', 'limb', '+/node/+/status']) {
      const text = problems(`mqtt:\n  grants:\n    - to: ha\n      publish: ["${filter}"]\n`)
      expect(text).toContain(`bridge.yaml:4: mqtt.grants[0].publish[0]: found "${filter}", which can match`)
    }
    expect(problems('mqtt: {grants: [{to: ha, subscribe: ["$SYS/#"]}]}')).toContain(
      'mqtt.grants[0].subscribe[0]',
    )
    expect(problems('mqtt: {grants: [{to: ha, subscribe: ["a\\u0001b"]}]}')).toContain(
      'grants[0].subscribe[0]',
    )
    expect(
      load('mqtt: {topicRoot: a/b, grants: [{to: ha, publish: ["+/c"]}]}').config.mqtt.grants,
    ).toHaveLength(1)
    expect(load('mqtt: {grants: [{to: ha, publish: ["limbo/#"]}]}').config.mqtt.grants).toHaveLength(1)
  })

  test('listening beyond loopback without TLS wants the words', () => {
    expect(problems('', { LIMB_MQTT_HOST: '0.0.0.0' })).toContain('allowPlaintext')
    expect(problems('http: {host: "::"}')).toContain('http.host')
    expect(load('mqtt: {host: 0.0.0.0, allowPlaintext: true}').config.mqtt.host).toBe('0.0.0.0')
    expect(load('http: {host: "::", enabled: false}').config.http.enabled).toBe(false)
  })

  test('a socket path that Linux would cut off is refused', () => {
    expect(problems(`control: {socket: ${`/${'x'.repeat(120)}`}}`)).toContain('control.socket')
  })

  test.each([
    ['http:\n  token: !secret x\n', 2, '!secret'],
    ['http:\n  token: !vault |\n    6162\n', 2, '!vault'],
    ['mqtt:\n  port: 1884\nhttp:\n  token: !env_var TOKEN\n', 4, '!env_var'],
    ['uplinks: !include uplinks.yaml\n', 1, '!include'],
    ['http: !token {token: a}\n', 1, '!token'],
    ['mqtt:\n  port: !!float x\n', 2, 'float'],
  ])('a tag that is not known stops the start with its line, and is no plain text: %j', (yaml, line, tag) => {
    const text = problems(yaml)
    expect(text).toContain(`bridge.yaml:${line}: Unresolved tag: `)
    expect(text).toContain(tag)
  })

  test.each([
    ['http:\n  token: \x24{METRICS_TOKEN_1}\n', 'http.token', 2],
    ['http:\n  token: $METRICS_TOKEN_1234\n', 'http.token', 2],
    ['http:\n  token: "<your-token-goes-here>"\n', 'http.token', 2],
    ['store: {path: "\x24{DATA:-/var/lib}/limb.sqlite"}\n', 'store.path', 1],
    ['store: {path: ~/limb.sqlite}\n', 'store.path', 1],
    [
      'uplinks:\n  - {name: a, url: "mqtt://127.0.0.1:1", prefix: x, username: u, password: "{{ pass }}"}\n',
      'uplinks[0].password',
      2,
    ],
  ])(
    'a placeholder for which nothing is put in stops the start with its line, and is no secret: %j',
    (yaml, path, line) => {
      const text = problems(yaml)
      expect(text).toContain(`bridge.yaml:${line}: ${path}: `)
      expect(text).toMatch(/placeholder|whole path/)
      expect(text).not.toMatch(/METRICS|your-token|pass \}/)
    },
  )

  test('a secret may have the letters of a placeholder within it', () => {
    expect(load('http: {token: "a$HOME-and-{{b}}-<c>"}').config.http.token).toBe('a$HOME-and-{{b}}-<c>')
  })

  test('what is not YAML, or twice the same key, is told with its line', () => {
    expect(problems('mqtt:\n  port: [1\n')).toMatch(/^bridge\.yaml:\d: is not YAML/)
    expect(problems('mqtt: {}\nmqtt: {}\n')).toContain('bridge.yaml:2')
    expect(problems('- a\n')).toContain('must hold keys and values')
  })

  test('a file of aliases of aliases does not fill the memory', () => {
    const bomb = ['a: &a [x,x,x,x,x,x,x,x]']
    for (let i = 0; i < 7; i++) {
      const [from, to] = ['abcdefgh'[i], 'abcdefgh'[i + 1]]
      bomb.push(`${to}: &${to} [${Array(8).fill(`*${from}`).join(',')}]`)
    }
    expect(problems([...bomb, 'mqtt: {port: *h}'].join('\n'))).toContain('alias')
  })

  test('a missing file says how to name one', () => {
    expect(() => loadConfig({ file: join(folder, 'none.yaml'), env: {} })).toThrow('there is no such file')
  })

  test('nothing in a file reaches the prototype of the settings', () => {
    expect(problems('__proto__: {polluted: true}')).toContain('unknown key')
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })
})

describe('environment', () => {
  test('variables win over the file', () => {
    const file = join(folder, 'a.yaml')
    writeFileSync(file, 'mqtt: {port: 1}\nlog: {level: debug}\n')
    const env = {
      LIMB_CONFIG: file,
      LIMB_DB: ':memory:',
      LIMB_MQTT_HOST: '::1',
      LIMB_MQTT_PORT: '0',
      LIMB_HTTP_HOST: 'localhost',
      LIMB_HTTP_PORT: '0',
      LIMB_CONTROL_SOCKET: '/run/x.sock',
      LIMB_LOG_LEVEL: 'silent',
    }
    const { config, sources } = loadConfig({ env })
    expect(config).toMatchObject({
      store: { path: ':memory:' },
      mqtt: { host: '::1', port: 0 },
      http: { host: 'localhost', port: 0 },
      control: { socket: '/run/x.sock' },
      log: { level: 'silent' },
    })
    expect(sources.get('mqtt.port')).toBe('LIMB_MQTT_PORT')
    expect(sources.get('mqtt.topicRoot')).toBe('default')
    expect(Object.keys(env).every((name) => ENVIRONMENT_VARIABLES.includes(name))).toBe(true)
  })

  test('a bad variable is named instead of the file', () => {
    expect(problems('mqtt: {port: 1}', { LIMB_MQTT_PORT: '18x' })).toBe(
      'LIMB_MQTT_PORT: mqtt.port: found "18x"; allowed: a whole number from 0 to 65535',
    )
  })

  test('a bad value in the file is told although a variable hides it, and nothing is told twice', () => {
    const file = 'mqtt:\n  port: 99999\nlog: {level: loud}\n'
    const [port, level, ...more] = problems(file, { LIMB_MQTT_PORT: '1884' }).split('\n')
    expect(port).toContain('bridge.yaml:2: mqtt.port: found 99999')
    expect(level).toContain('bridge.yaml:3: log.level: found "loud"')
    expect(more).toEqual([])
    expect(problems(file, { LIMB_MQTT_PORT: 'x' }).split('\n')[2]).toContain(
      'LIMB_MQTT_PORT: mqtt.port: found "x"',
    )
  })

  test('an empty variable counts as not set', () => {
    expect(load('mqtt: {port: 7}', { LIMB_MQTT_PORT: '', LIMB_CONFIG: '' }).config.mqtt.port).toBe(7)
  })

  test('an unknown LIMB_ variable is a warning with a hint', () => {
    expect(load('', { LIMB_MQTT_PROT: '1', LIMBO: 'x' }).warnings).toEqual([
      "the environment variable LIMB_MQTT_PROT is not one of the bridge's and is ignored; did you mean LIMB_MQTT_PORT?",
    ])
  })
})

describe('config show', () => {
  test('each value stands with its source, and secrets are hidden', () => {
    const loaded = load('http: {token: 0123456789abcdef}\n', { LIMB_MQTT_PORT: '1884' })
    const shown = new Map(shownSettings(loaded).map((setting) => [setting.key, setting]))
    expect(shown.get('http.token')).toEqual({ key: 'http.token', value: '(hidden)', source: 'bridge.yaml' })
    expect(shown.get('mqtt.port')).toEqual({ key: 'mqtt.port', value: 1884, source: 'LIMB_MQTT_PORT' })
    expect(configText(loaded)).not.toContain('0123456789abcdef')
    expect(configText(loaded)).toMatch(/port: 1884 +# LIMB_MQTT_PORT/)
  })

  test('what is shown is YAML that the bridge reads back', () => {
    const loaded = load('mqtt: {grants: [{to: ha, publish: ["a/#"]}]}')
    expect(load(configText(loaded)).config).toEqual(loaded.config)
  })
})

test('the committed documents are what the code says now', () => {
  expect(outdated()).toEqual([])
  expect(Object.keys(GENERATORS)).toContain('docs/configuration.md')
})

type DeepPartial<T> = { [K in keyof T]?: T[K] extends object ? DeepPartial<T[K]> : T[K] }
