import { existsSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Paho 2 in Python, beside the one that the machine has: the package of Debian 13, unpacked. `npm run test:programs` brings
 * it; where it cannot be had, its tests are skipped, in CI too.
 */

export const PAHO_2_PACKAGE = {
  url: 'http://deb.debian.org/debian/pool/main/p/python-paho-mqtt/python3-paho-mqtt_2.1.0-1_all.deb',
  sha256: '09114c747bb5ff165d0da0bcd7676ef316d943fd64703af3e8476fbfd23d5af7',
}

export const PAHO_2_ROOT = join(import.meta.dirname, '../../node_modules/.cache/limb-bridge-tests/paho-2')

/** Where Python finds it (PYTHONPATH); undefined where it is not. */
export function paho2(): string | undefined {
  const folder = join(PAHO_2_ROOT, 'usr/lib/python3/dist-packages')
  return existsSync(join(folder, 'paho/mqtt/client.py')) ? folder : undefined
}
