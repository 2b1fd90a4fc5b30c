import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

/**
 * Finds out, as root, what the packaged service may read: it runs as a user of its own in the group `limb-bridge`.
 */

const GROUP = 'limb-bridge'
const UNIT_FILES = ['/lib/systemd/system', '/usr/lib/systemd/system', '/etc/systemd/system'].map(
  (folder) => `${folder}/limb-bridge.service`,
)
/** A user that is in no group and owns nothing, as the service's own is before it starts. */
const NOBODY = '65534'
/** The unit hides these from the service (ProtectHome=, PrivateTmp=, InaccessiblePaths=). */
const HIDDEN = /^\/(?:home|root|run\/user|tmp|var\/tmp|boot|media|mnt|srv)(?:\/|$)/
/** Matches the place where systemd puts credentials when the service starts. */
const CREDENTIALS = /^\/run\/credentials\//

/**
 * Says why the packaged service could not read a file, or returns undefined when it can, or when this user cannot
 * tell.
 */
export function whyServiceCannotRead(file: string): string | undefined {
  if (process.geteuid?.() !== 0 || CREDENTIALS.test(file)) return undefined
  const group = groupId(GROUP)
  if (group === undefined || !UNIT_FILES.some((path) => existsSync(path))) return undefined
  if (HIDDEN.test(file)) {
    return `the service cannot see it there; put it into /etc/limb-bridge (root:${GROUP}, 0640)`
  }
  return mayRead(file, group)
    ? undefined
    : `the service may not read it: \`chgrp ${GROUP}\` and \`chmod 640\` the file, and let the group into its folders, or put a copy into /etc/limb-bridge`
}

function groupId(name: string): string | undefined {
  try {
    return new RegExp(`^${name}:[^:]*:(\\d+):`, 'm').exec(readFileSync('/etc/group', 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

/** Tries it as such a user, so that modes, folders and access lists all count. */
function mayRead(file: string, group: string): boolean {
  const who = ['--reuid', NOBODY, '--regid', NOBODY, '--groups', group]
  const { status, error } = spawnSync('setpriv', [...who, 'test', '-r', file], { stdio: 'ignore' })
  return error !== undefined || status !== 1
}
