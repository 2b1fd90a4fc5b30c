import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { postgresFolder } from './postgres.ts'

/** The foreign programs that tests talk to: which Debian package has each, and why it is wanted. */

export interface Program {
  readonly package: string
  readonly why: string
  /** Which suite: `npm test`, or `npm run test:systemd`. */
  readonly suite: 'test' | 'systemd'
  /** Its tests are skipped where it cannot be had, in CI too. */
  readonly optional?: boolean
  present(): boolean
}

/** Debian keeps programs of administrators where the PATH of other users does not look. */
const FOLDERS = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']

function onPath(...names: readonly string[]): boolean {
  return names.every((name) => FOLDERS.some((folder) => isProgram(join(folder, name))))
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function python(module: string): boolean {
  return spawnSync('/usr/bin/python3', ['-c', `import ${module}`]).status === 0
}

export const PROGRAMS = {
  chromium: {
    package: 'chromium',
    why: 'a real browser, in which the console is used and looked at',
    suite: 'test',
    present: () => onPath('chromium'),
  },
  'dpkg-deb': {
    package: 'dpkg',
    why: 'the builder of the Debian package',
    suite: 'test',
    present: () => onPath('dpkg-deb'),
  },
  mosquitto: {
    package: 'mosquitto',
    why: 'the other broker of uplinks and of Home Assistant, and one to compare with',
    suite: 'test',
    present: () => onPath('mosquitto', 'mosquitto_passwd'),
  },
  'mosquitto-clients': {
    package: 'mosquitto-clients',
    why: 'MQTT clients that nobody here wrote, and the tour of the README',
    suite: 'test',
    present: () => onPath('mosquitto_pub', 'mosquitto_sub', 'mosquitto_rr'),
  },
  paho: {
    package: 'python3-paho-mqtt',
    why: 'a second foreign MQTT client, and the example in Python',
    suite: 'test',
    present: () => python('paho.mqtt.client'),
  },
  'paho-c': {
    package: 'paho.mqtt.c-examples',
    why: "MQTT 5 as Paho's library in C speaks it",
    suite: 'test',
    optional: true,
    present: () => onPath('paho_c_pub', 'paho_c_sub', 'paho_cs_pub', 'paho_cs_sub'),
  },
  postgresql: {
    package: 'postgresql',
    why: 'the other store: a server of its own for each test file',
    suite: 'test',
    optional: true,
    present: () => postgresFolder() !== undefined,
  },
  jinja: {
    package: 'python3-jinja2',
    why: "what renders Home Assistant's templates",
    suite: 'test',
    present: () => python('jinja2'),
  },
  voluptuous: {
    package: 'python3-voluptuous',
    why: "the library of Home Assistant's own schemas",
    suite: 'test',
    present: () => python('voluptuous'),
  },
  cpp: {
    package: 'g++',
    why: 'what compiles the Arduino library for this machine',
    suite: 'test',
    present: () => onPath('g++'),
  },
  avr: {
    package: 'arduino-core-avr',
    why: 'what compiles the Arduino library for an AVR',
    suite: 'test',
    present: () => onPath('avr-g++') && existsSync('/usr/share/arduino/hardware/arduino/avr/cores/arduino'),
  },
  libmosquitto: {
    package: 'libmosquitto-dev',
    why: 'the MQTT of the Arduino library on this machine',
    suite: 'test',
    present: () => existsSync('/usr/include/mosquitto.h'),
  },
  promtool: {
    package: 'prometheus',
    why: 'promtool, which checks metrics and alert rules',
    suite: 'test',
    present: () => onPath('promtool'),
  },
  openssl: {
    package: 'openssl',
    why: 'certificates that live as long as a test',
    suite: 'test',
    present: () => onPath('openssl'),
  },
  rtl_433: {
    package: 'rtl-433',
    why: 'a radio receiver that was not made for us, with the settings of docs/devices',
    suite: 'test',
    present: () => onPath('rtl_433'),
  },
  collectd: {
    package: 'collectd-core',
    why: 'a program that was not made for us, with the settings of docs/devices',
    suite: 'test',
    present: () => onPath('collectd'),
  },
  jq: { package: 'jq', why: 'the example in shell', suite: 'test', present: () => onPath('jq') },
  ss: {
    package: 'iproute2',
    why: 'ss, which says how many connections may wait for a moment',
    suite: 'test',
    present: () => onPath('ss'),
  },
  ext4: {
    package: 'e2fsprogs',
    why: 'file systems that are filled and made read-only',
    suite: 'test',
    present: () => onPath('mkfs.ext4', 'fsck.ext4'),
  },
  systemd: {
    package: 'systemd-sysv',
    why: 'the service on a real systemd',
    suite: 'systemd',
    present: () => isProgram('/lib/systemd/systemd'),
  },
  dbus: {
    package: 'dbus',
    why: 'what systemctl speaks over',
    suite: 'systemd',
    present: () => onPath('dbus-daemon'),
  },
  ip: {
    package: 'iproute2',
    why: 'the network of the machine that runs systemd',
    suite: 'systemd',
    present: () => onPath('ip'),
  },
} satisfies Readonly<Record<string, Program>>

export type ProgramName = keyof typeof PROGRAMS

export function missingPrograms(suites: readonly Program['suite'][]): readonly Program[] {
  return Object.values<Program>(PROGRAMS).filter(({ suite, present }) => suites.includes(suite) && !present())
}
