import { writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Command } from 'commander'
import { messageOf } from '../../kernel/errors.ts'
import type { CliContext } from '../context.ts'
import { usageError } from '../exit.ts'
import { type ConnectionOptions, settingsOf } from '../session/target.ts'
import { print, shown } from '../terminal/text.ts'

/** `node provision --qr`: user name, key and address of a new limb, for a camera to read or to stick on the device. */

export interface LabelOptions {
  readonly qr?: true
  readonly sticker?: string
  readonly address?: string
}

export function labelOptions(command: Command): void {
  command
    .option(
      '--qr',
      'show a QR code of the address, with user name and key in it: mqtt://cam1:KEY@192.168.1.5:1883',
    )
    .option(
      '--sticker <file.svg>',
      'write the QR code with its text as a picture to print; the file must be new',
    )
    .option(
      '--address <address>',
      'where the device finds the bridge, for both: a host, host:port or a mqtts:// URL',
    )
}

/** A label as it is printed: the text of the code, and the lines under it. */
export interface Label {
  readonly url: string
  readonly lines: readonly string[]
}

/** Returns the label of a limb. @throws CliError for an address that is none. */
export function labelOf(nodeId: string, key: string, address: string): Label {
  const url = addressUrl(address)
  const port = url.port || (url.protocol === 'mqtts:' ? '8883' : '1883')
  const tls = url.protocol === 'mqtts:' ? ', TLS' : ''
  url.port = port
  url.username = nodeId
  url.password = key
  const host = url.hostname
  return {
    url: url.href,
    lines: [nodeId, `host ${host}, port ${port}${tls}`, `user ${nodeId}`, `key ${key}`],
  }
}

function addressUrl(address: string): URL {
  const host = isIP(address) === 6 ? `[${address}]` : address
  const text = /^mqtts?:\/\//.test(host) ? host : `mqtt://${host}`
  const url = URL.parse(text)
  if (url === null || url.hostname === '' || url.username !== '' || !/^\/?$/.test(url.pathname))
    throw usageError(`--address: ${address} is no host, host:port or mqtt:// URL`)
  return url
}

/** Writes what was asked for, after the answer; standard output stays JSON where JSON was asked for. */
export async function writeLabel(
  context: CliContext,
  options: ConnectionOptions & LabelOptions,
  data: unknown,
  isText: boolean,
): Promise<void> {
  if (!options.qr && options.sticker === undefined) return
  const { nodeId, apiKey } = data as { nodeId: string; apiKey?: string }
  if (apiKey === undefined) throw usageError('--qr: the answer has no key; provision without --api-key')
  const label = labelOf(nodeId, apiKey, options.address ?? (await addressOf(context, options)))
  const { renderSVG, renderUnicodeCompact } = await import('uqr')
  if (options.qr)
    print(isText ? context.io.stdout : context.io.stderr, `\n${renderUnicodeCompact(label.url)}`)
  if (options.sticker === undefined) return
  try {
    writeFileSync(options.sticker, sticker(renderSVG(label.url, { border: 2 }), label), {
      flag: 'wx',
      mode: 0o600,
    })
  } catch (error) {
    throw usageError(
      `--sticker: cannot write ${options.sticker}: ${messageOf(error)}; the limb is provisioned`,
    )
  }
  print(context.io.stderr, `${shown(options.sticker)} holds the key: print it, then delete it.`)
}

/** The bridge's address, as another machine of the network sees it. */
async function addressOf(context: CliContext, options: ConnectionOptions): Promise<string> {
  if (options.url !== undefined) {
    const { hostname, port, protocol } = new URL(options.url)
    if (/^mqtts?:$/.test(protocol)) return `${protocol}//${hostname}${port === '' ? '' : `:${port}`}`
    return hostname
  }
  const { mqtt } = await settingsOf(context, options.config)
  const own = isAny(mqtt.host) ? networkAddress() : mqtt.host
  if (own === undefined || /^(127\.|::1$|localhost$)/.test(own)) {
    print(context.io.stderr, 'The bridge listens on this machine alone; see mqtt.host, or name --address.')
  }
  return `${isIP(own ?? '') === 6 ? `[${own}]` : (own ?? 'localhost')}:${mqtt.port}`
}

const isAny = (host: string) => host === '0.0.0.0' || host === '::'

function networkAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return all.find(({ internal, family }) => !internal && family === 'IPv4')?.address
}

const LINE = 5

/** The code, and below it the same in words: a picture of 62 mm, as label printers have them. */
function sticker(code: string, { lines }: Label): string {
  const inner = code.replace(/^<svg([^>]*)>/, '<svg$1 x="6" y="2" width="50" height="50">')
  const texts = lines.map(
    (line, i) =>
      `<text x="31" y="${57 + i * LINE}" font-size="${line.length > 40 ? 2 : 3.4}" text-anchor="middle">${escapeXml(line)}</text>`,
  )
  const height = 58 + lines.length * LINE
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="62mm" height="${height}mm" viewBox="0 0 62 ${height}" font-family="monospace">`,
    `<rect width="62" height="${height}" fill="#fff"/>`,
    inner,
    ...texts,
    '</svg>\n',
  ].join('\n')
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
