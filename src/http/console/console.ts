import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { acceptedEncoding, type ConsoleFile, loadConsoleFiles } from './files.ts'
import { firstStartRoute, type SetFirstPassword } from './first-start.ts'
import { GUARDS } from './guards.ts'

/** The web console at `/`: files that were built before, and what they have to know of this bridge. */

export interface ConsoleOptions {
  /** The folder of the built files. */
  readonly folder: string
  /** Returns what the page has to know before anybody signs in; no secret, and nothing about limbs. */
  readonly facts: () => ConsoleFacts
  /** Takes the link of a first start; undefined: there was none. */
  readonly setFirstPassword?: SetFirstPassword | undefined
}

export interface ConsoleFacts {
  readonly topicRoot: string
  /** The address where devices connect. */
  readonly mqtt: { readonly host: string; readonly port: number }
  readonly tls: { readonly port: number } | null
}

const YEAR_SECONDS = 31_536_000

/** Adds the console: `/`, its assets, and `/console.json`. */
export function consoleRoutes(
  app: FastifyInstance,
  { folder, facts, setFirstPassword = async () => 'gone' }: ConsoleOptions,
  allowedOrigins: () => readonly string[],
): void {
  const files = loadConsoleFiles(folder)
  app.get('/console.json', async (_request, reply) => reply.headers(GUARDS).send(facts()))
  firstStartRoute(app, setFirstPassword, allowedOrigins)
  if (files === undefined) {
    app.get('/', async (_request, reply) => notBuilt(reply))
    return
  }
  for (const [path, file] of files) app.get(path, async (request, reply) => send(request, reply, file))
}

function send(request: FastifyRequest, reply: FastifyReply, file: ConsoleFile): FastifyReply {
  const encoding = acceptedEncoding(request.headers['accept-encoding'], file)
  const etag = `"${file.etag}${encoding === undefined ? '' : `-${encoding}`}"`
  const keep = file.immutable ? `public, max-age=${YEAR_SECONDS}, immutable` : 'no-cache'
  void reply
    .headers(GUARDS)
    .header('etag', etag)
    .header('cache-control', keep)
    .header('vary', 'accept-encoding')
  if (matches(request.headers['if-none-match'], etag)) return reply.code(304).send()
  if (encoding !== undefined) void reply.header('content-encoding', encoding)
  const body = encoding === undefined ? file.bytes : file.encoded[encoding]
  return reply.type(file.type).send(body)
}

function matches(header: string | undefined, etag: string): boolean {
  return (header ?? '').split(',').some((each) => each.trim().replace(/^W\//, '') === etag)
}

const NOT_BUILT = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Limb Bridge: the console is not built</title>
<h1>The console is not built</h1>
<p>The bridge runs. This work tree has no built web console: run <code>npm ci</code>, or <code>npm run build:console</code>,
and start the bridge again.</p>
<p>Everything else works: <code>./limb-bridge status</code> on the command line, <a href="/healthz">/healthz</a>,
<a href="/metrics">/metrics</a>, the API below <code>/api/v1/</code>.</p>
<p>Set <code>http.console: false</code> when you want no console.</p>
`

function notBuilt(reply: FastifyReply): FastifyReply {
  return reply.code(503).headers(GUARDS).type('text/html; charset=utf-8').send(NOT_BUILT)
}
