import { lstatSync, type Stats } from 'node:fs'
import { connect, createServer } from 'node:net'
import { messageOf } from '../../kernel/errors.ts'
import type { UnitState } from '../systemd/service-state.ts'
import { type CheckResult, ok, problem, warning } from './check-result.ts'

/** Ports and the control socket, from outside. */

const CONNECT_MS = 2000

/** Says whether a bridge is running, as far as this user can find out. */
export type Running = 'yes' | 'no' | 'unknown'

export async function checkPort(
  what: string,
  host: string,
  port: number,
  running: Running,
): Promise<CheckResult> {
  if (port === 0) return ok(what, `${host}, any free port`)
  const where = `${host} port ${port}`
  if (running === 'yes') {
    const answer = await reach({
      host: host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host,
      port,
    })
    if (answer === undefined) return ok(what, `${where} answers`)
    return problem(
      what,
      `a bridge runs, and ${where} does not answer (${answer}); is that its configuration?`,
    )
  }
  const trouble = await bind(host, port)
  if (trouble === undefined) return ok(what, `${where} is free`)
  if (running === 'unknown' && trouble === 'EADDRINUSE') {
    return warning(what, `${where} is taken; whether by the bridge cannot be told`)
  }
  const advice: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program listens there (`ss -ltnp` names it; a socket unit is as it should be)',
    EACCES: 'this user may not listen there; choose a port above 1023',
    EADDRNOTAVAIL: 'this machine has no such address',
  }
  return problem(what, `${where}: ${advice[trouble] ?? trouble}`)
}

export async function checkControlSocket(path: string, running: Running): Promise<CheckResult> {
  const what = 'control socket'
  let stat: Stats | undefined
  try {
    stat = lstatSync(path, { throwIfNoEntry: false })
  } catch (error) {
    return warning(what, `${path} is out of reach for this user (${messageOf(error)})`)
  }
  if (stat && !stat.isSocket()) return problem(what, `${path} is no socket; remove it, or set control.socket`)
  if (!stat) {
    return running === 'yes'
      ? problem(what, `a bridge runs, and ${path} is not there; is that its configuration? else restart it`)
      : ok(what, `${path} is made at the start`)
  }
  const answer = await reach({ path }, CONNECT_PACKET)
  if (answer === undefined) return ok(what, `${path} answers`)
  if (answer === 'EACCES') {
    return warning(what, `${path} is not for this user; join its group, or use sudo`)
  }
  return running === 'yes'
    ? problem(what, `a bridge runs, and ${path} does not answer (${answer}); restart it`)
    : ok(what, `${path} was left behind; the next start replaces it`)
}

/** A port that systemd holds open for the bridge, with a socket unit. */
export async function checkHeldOpen(
  what: string,
  { unit, active, result, listens }: UnitState,
  running: Running,
): Promise<CheckResult> {
  const where = `${listens.join(' and ')} (${unit})`
  if (active === 'failed' && result !== 'resources')
    return problem(what, `${where} is not open; see the line of the service`)
  if (active === 'failed') {
    const program = '`ss -ltnp` names the program that listens there'
    const change = `\`systemctl edit ${unit}\` with [Socket], ListenStream= and another ListenStream= line chooses another port`
    return problem(what, `${where} is not open; ${program}; stop it, or ${change}`)
  }
  if (running !== 'yes')
    return ok(what, `${where} is held open by systemd; it starts the bridge for who connects`)
  for (const address of listens) {
    const answer = await reach(addressOf(address))
    if (answer !== undefined)
      return problem(what, `a bridge runs, and ${address} does not answer (${answer})`)
  }
  return ok(what, `${where} answers`)
}

/** `0.0.0.0:1883`, `[::]:1883`. */
function addressOf(text: string): { host: string; port: number } {
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(text) ?? []
  return { host: host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port: Number(port) }
}

/** A CONNECT of MQTT 3.1.1 that asks for nothing: a clean session without a client id. */
const CONNECT_PACKET = Buffer.from('100c00044d5154540402000a0000', 'hex')

/**
 * Returns undefined when somebody answers, else why not. The kernel takes a connection for a bridge that hangs, or that systemd
 * is about to start, too; with `hello` an answer to that is what counts.
 */
function reach(
  where: { host: string; port: number } | { path: string },
  hello?: Buffer,
): Promise<string | undefined> {
  return new Promise((done) => {
    const socket = connect(where)
    const end = (answer: string | undefined) => {
      socket.destroy()
      done(answer)
    }
    if (hello === undefined) socket.once('connect', () => end(undefined))
    else socket.once('connect', () => socket.write(hello)).once('data', () => end(undefined))
    socket.once('close', () => end('it closed the connection'))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
    socket.setTimeout(CONNECT_MS, () => end(`nothing within ${CONNECT_MS / 1000} s`))
  })
}

/** Resolves to undefined when one could listen there, else to the code of the error. */
function bind(host: string, port: number): Promise<string | undefined> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
    server.listen({ host, port }, () => server.close(() => done(undefined)))
  })
}
