import { isSecret } from './leaves.ts'

/** Finds what other programs would replace in a file, and this one takes as it is written. */

/** `${NAME}`, with a default of the shell or without. */
const VARIABLE = /\$\{[A-Za-z_][A-Za-z0-9_]*(?:[:?+-][^}]*)?\}/
/** A secret that is nothing but the name of one: whoever knows the habit can guess it. */
const WHOLE = /^(?:\$[A-Z_][A-Z0-9_]*|\{\{.*\}\}|%\([^)]*\)s|<[^<>]*>)$/
const HOME = /^~(?:[A-Za-z_][\w-]*)?\//

type Path = readonly PropertyKey[]

export function placeholderProblems(settings: object): { readonly path: Path; readonly message: string }[] {
  return textsIn(settings, []).flatMap(([path, text]) => {
    const message = problemWith(text, isSecret(path))
    return message === undefined ? [] : [{ path, message }]
  })
}

function problemWith(text: string, secret: boolean): string | undefined {
  if (VARIABLE.test(text) || (secret && WHOLE.test(text)))
    return 'looks like a placeholder of a shell or a template, and nothing is put in its place here; write the value itself, or name a file with it where there is a key for one'
  return HOME.test(text)
    ? 'begins with ~, which only a shell puts a folder in the place of; write the whole path'
    : undefined
}

function textsIn(
  value: unknown,
  path: readonly PropertyKey[],
): (readonly [readonly PropertyKey[], string])[] {
  if (typeof value === 'string') return [[path, value]]
  if (typeof value !== 'object' || value === null) return []
  const entries: (readonly [PropertyKey, unknown])[] = Array.isArray(value)
    ? value.map((each, i) => [i, each])
    : Object.entries(value)
  return entries.flatMap(([key, each]) => textsIn(each, [...path, key]))
}
