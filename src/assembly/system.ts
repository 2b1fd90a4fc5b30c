import { dirname, resolve } from 'node:path'
import type { BridgeSystem } from '../bridge/ports.ts'
import { checkCertificates } from '../host/doctor/certificates.ts'
import { type CheckResult, ok, warning } from '../host/doctor/check-result.ts'
import { checkClock, checkDisk, checkFolder, checkOpenFiles } from '../host/doctor/machine.ts'
import { usesTls } from '../host/tls/certificate-files.ts'
import { iso } from '../kernel/clock.ts'
import type { KeptBackups } from '../store/engine.ts'
import type { Build } from './parts.ts'

/** Shows the use cases the machine and the log: the doctor's checks that are quick, which need no second process. */
export function systemOf({ options: { log, clock }, now }: Build, backups: KeptBackups): BridgeSystem {
  return {
    logLines: () => log.recent(),
    async checks() {
      const { config } = now
      const file = resolve(config.store.path)
      const inFile = config.store.kind === 'sqlite' && config.store.path !== ':memory:'
      return [
        ...(inFile ? [...checkFolder('folder', dirname(file)), ...checkDisk(file)] : []),
        ...checkClock(clock.wallMs(), file),
        ...checkOpenFiles(config.mqtt.maxConnections),
        ...(usesTls(config) ? checkCertificates({ tls: config.tls }, clock.wallMs()) : []),
        ...(config.store.kind === 'sqlite' ? [await newestBackup(backups)] : []),
      ]
    },
  }
}

async function newestBackup(backups: KeptBackups): Promise<CheckResult> {
  const at = await backups.newestAt().catch(() => undefined)
  return at === undefined
    ? warning('backup', 'there is none: `limb-bridge backup create` makes one')
    : ok('backup', `the newest is of ${iso(at)}`)
}
