import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Asks Debian's Python, with the libraries that Home Assistant is made of, what it would make of discovery messages. */

const SCRIPT = join(import.meta.dirname, 'home_assistant_schemas.py')

/** A template, the payload of a message or null, and other variables. */
export type Render = readonly [template: string, payload: string | null, variables?: object]

interface Verdict {
  readonly problems: readonly string[]
  readonly rendered: readonly string[]
}

export function homeAssistant(
  messages: readonly (readonly [topic: string, message: unknown])[],
  renders: readonly Render[] = [],
): Verdict {
  const input = JSON.stringify({
    messages,
    renders: renders.map(([template, payload, variables]) => [template, payload, variables ?? {}]),
  })
  return JSON.parse(execFileSync('/usr/bin/python3', [SCRIPT], { input }).toString()) as Verdict
}
