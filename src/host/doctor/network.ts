import { lstatSync, type Stats } from 'node:fs'
import { connect, createServer } from 'node:net'
import { messageOf } from '../../kernel/errors.ts'
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
    if (answer === null) return ok(what, `${where} answers`)
    return problem(
      what,
      `a bridge runs, and ${where} does not answer (${answer}); is that its configuration?`,
    )
  }
  const trouble = await bind(host, port)
  if (trouble === null) return ok(what, `${where} is free`)
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
  const answer = await reach({ path })
  if (answer === null) return ok(what, `${path} answers`)
  if (answer === 'EACCES') {
    return warning(what, `${path} is not for this user; join its group, or use sudo`)
  }
  return running === 'yes'
    ? problem(what, `a bridge runs, and ${path} does not answer (${answer}); restart it`)
    : ok(what, `${path} was left behind; the next start replaces it`)
}

/** Resolves to null when somebody answers, else to why not. */
function reach(where: { host: string; port: number } | { path: string }): Promise<string | null> {
  return new Promise((done) => {
    const socket = connect(where)
    const end = (answer: string | null) => {
      socket.destroy()
      done(answer)
    }
    socket.once('connect', () => end(null))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
    socket.setTimeout(CONNECT_MS, () => end(`nothing within ${CONNECT_MS / 1000} s`))
  })
}

/** Resolves to null when one could listen there, else to the code of the error. */
function bind(host: string, port: number): Promise<string | null> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
    server.listen({ host, port }, () => server.close(() => done(null)))
  })
}
