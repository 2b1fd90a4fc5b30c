import verbRoles from 'virtual:verb-roles'
import { ROLES, type Role } from '../../../src/protocol/names.ts'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { topicsOf } from '../../../src/protocol/topics.ts'
import type { VerbArgs, VerbName } from '../../../src/protocol/verbs.ts'
import { Connection, type Credentials, type SignInProblem } from './connection.ts'
import { Fleet } from './fleet.ts'
import { dropToken, type KeptToken, keepToken, keptToken } from './kept-token.ts'
import { Signal } from './signal.ts'

/** Who is signed in, and what the page knows by that. One for the page. */

export interface ConsoleFacts {
  readonly topicRoot: string
  readonly mqtt: { readonly host: string; readonly port: number }
  readonly tls: { readonly port: number } | null
}

export type Phase = 'starting' | 'signed-out' | 'signed-in'

/** Between the tries of a page that was signed in before: milliseconds, each times 0.5 to 1.5 at random. */
const PAUSES_MS = [500, 1000, 2000, 4000]

class ConsoleSession {
  readonly connection = new Connection()
  readonly fleet = new Fleet()
  readonly changed = new Signal()
  phase: Phase = 'starting'
  role: Role = 'viewer'
  facts: ConsoleFacts = { topicRoot: 'limb', mqtt: { host: '', port: 1883 }, tls: null }
  /** Why the page is signed out, when nobody asked for it. */
  ended: 'refused' | undefined
  #kept: KeptToken | undefined
  #credentials: Credentials | undefined

  constructor() {
    const { connection, fleet } = this
    connection.onMessage = (topic, payload, retained) =>
      fleet.received(connection.topics, topic, payload, retained)
    connection.onConnect = () => fleet.resync()
    connection.onOnline = () => {
      fleet.settle()
      void this.#learnRole()
    }
    connection.onLost = () => fleet.unsettle()
    connection.onRefused = () => this.#end('refused')
  }

  get name(): string {
    return this.connection.name
  }

  may(verb: VerbName): boolean {
    return this.reaches((verbRoles[verb] ?? 'admin') as Role)
  }

  reaches(role: Role): boolean {
    return ROLES.indexOf(this.role) >= ROLES.indexOf(role)
  }

  ask<V extends VerbName>(verb: V, args: Partial<VerbArgs<V>> = {}, waitMs?: number): Promise<VerbResult<V>> {
    return this.connection.ask(verb, args, waitMs)
  }

  /** With what this browser kept, if it did. */
  async start(): Promise<void> {
    try {
      const response = await fetch('./console.json', { cache: 'no-store' })
      if (response.ok) this.facts = (await response.json()) as ConsoleFacts
    } catch {}
    const kept = keptToken()
    if (kept === undefined) return this.#phase('signed-out')
    for (const pauseMs of [...PAUSES_MS, undefined]) {
      try {
        await this.#open({ name: kept.name, secret: kept.token })
        this.#kept = kept
        return
      } catch (problem) {
        if (problem === 'refused') dropToken()
        if (problem === 'refused' || pauseMs === undefined) break
      }
      // A bridge that is busy for a moment is no reason to ask for a password.
      await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random())))
    }
    this.#phase('signed-out')
  }

  /** Rejects with a SignInProblem. `remember`: over the end of the browser, for a month. */
  async signIn(given: Credentials, remember: boolean): Promise<void> {
    const credentials = given.name === '' ? { ...given, name: await nameOfToken(given.secret) } : given
    // The token is here before the page is: whoever reloads at once is not asked again.
    await this.#open(credentials, () => this.#keep(credentials, remember))
  }

  /** The header for what is fetched over HTTP: a file that is too large for MQTT. */
  authorization(): string {
    const { name = '', secret = '' } = this.#credentials ?? {}
    if (secret.startsWith('lbt_')) return `Bearer ${secret}`
    const bytes = new TextEncoder().encode(`${name}:${secret}`)
    return `Basic ${btoa(String.fromCharCode(...bytes))}`
  }

  /** `more`: what else the bridge is asked before the page is shown. */
  async #open(credentials: Credentials, more?: () => Promise<void>): Promise<void> {
    this.#credentials = credentials
    this.ended = undefined
    const { connection, facts } = this
    this.fleet.clear()
    const { bridgePrefix, node } = topicsOf(facts.topicRoot)
    // Pairing requests, approvals, events, info and status; and every limb.
    for (const filter of [`${bridgePrefix}#`, node('+', 'state')]) connection.hold(filter)
    await connection.open(credentials, facts.topicRoot)
    await Promise.all([this.#learnRole(), more?.()])
    this.#phase('signed-in')
  }

  async #learnRole(): Promise<void> {
    try {
      const { you } = await this.ask('bridge/health')
      if (this.role === you.role) return
      this.role = you.role
      this.changed.changed()
    } catch {}
  }

  /** A reload shall not ask for the password again: the browser keeps a token in its place, which can be taken away. */
  async #keep({ name, secret }: Credentials, remember: boolean): Promise<void> {
    try {
      this.#kept = await keepToken(name, secret, remember, (args) => this.ask('token/add', args))
    } catch {
      // Without one, a reload asks again: no reason to say anything.
    }
  }

  async signOut(): Promise<void> {
    const kept = this.#kept
    this.#kept = undefined
    dropToken()
    if (kept?.tokenId !== undefined)
      await this.ask('token/remove', { tokenId: kept.tokenId }).catch(() => undefined)
    this.#end(undefined)
  }

  #end(why: 'refused' | undefined): void {
    this.connection.close()
    this.#credentials = undefined
    this.fleet.clear()
    if (why === 'refused') dropToken()
    this.ended = why
    this.role = 'viewer'
    this.#phase('signed-out')
  }

  #phase(phase: Phase): void {
    this.phase = phase
    this.changed.changed()
  }
}

/** Over HTTP, because a session's own topics hold its name. */
async function nameOfToken(token: string): Promise<string> {
  const problem = (value: SignInProblem) => value
  let response: Response
  try {
    response = await fetch('./console/session', { headers: { authorization: `Bearer ${token}` } })
  } catch {
    throw problem('unreachable')
  }
  if (response.status === 429) throw problem('busy')
  if (!response.ok) throw problem('refused')
  return ((await response.json()) as { readonly name: string }).name
}

export const session = new ConsoleSession()
