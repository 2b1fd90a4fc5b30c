import { isIP } from 'node:net'

const PLACE = /^(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?$/

/**
 * Returns whether a request was meant for this bridge, as its `Host` says. A page of any name can make that name ours
 * (DNS rebinding), so names are believed that somebody has listed; an address, and `localhost`, cannot be made ours.
 */
export function hostAllowed(host: string | undefined, names: readonly string[]): boolean {
  const [, bracketed, name = ''] = PLACE.exec(host?.toLowerCase() ?? '') ?? []
  if (bracketed !== undefined) return isIP(bracketed) === 6
  if (name === '') return false
  return name === 'localhost' || isIP(name) === 4 || names.some((own) => own.toLowerCase() === name)
}

/** Returns the names by which the bridge may be asked: those that are listed, and those that other settings show. */
export function namesOf({
  allowedHosts,
  allowedOrigins,
  publicUrl,
  machine,
}: {
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
  readonly publicUrl: string | null
  /** The name of the machine itself. */
  readonly machine: string
}): readonly string[] {
  const urls = [...allowedOrigins, ...(publicUrl === null ? [] : [publicUrl])]
  const named = urls.filter((url) => URL.canParse(url)).map((url) => new URL(url).hostname)
  return [...allowedHosts, ...named, machine, `${machine}.local`]
}
