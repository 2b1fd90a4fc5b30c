import { readFileSync, statSync } from 'node:fs'
import { type Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml'
import { messageOf } from '../../kernel/errors.ts'
import { ConfigError } from './problems.ts'
import { isRecord } from './record.ts'

/** The YAML file: its values, and on which line each key stands. */

export interface ConfigFile {
  readonly name: string
  /** The top-level object; empty for an empty file. */
  readonly values: Record<string, unknown>
  /** The line (from 1) of the key at a path, or of the nearest key above it. */
  lineOf(path: readonly PropertyKey[]): number | undefined
}

/** A configuration of this size is a mistake, such as the database's own path. */
const MAX_FILE_BYTES = 4_194_304

function readText(name: string): string {
  try {
    const stat = statSync(name)
    if (stat.isDirectory()) throw new Error('is a folder')
    if (stat.size > MAX_FILE_BYTES) throw new Error(`has more than ${MAX_FILE_BYTES} bytes`)
    return readFileSync(name, 'utf8')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new ConfigError([
      {
        where: name,
        message: missing
          ? 'there is no such file; name it with --config FILE or LIMB_CONFIG'
          : `cannot be read: ${messageOf(error)}`,
      },
    ])
  }
}

function positionOf(document: Document, path: readonly PropertyKey[]): number | undefined {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part)
      if (!pair) break
      offset = isScalar(pair.key) ? pair.key.range?.[0] : offset
      node = pair.value
    } else {
      node = document.getIn(
        path.slice(0, path.indexOf(part) + 1).map((step) => (typeof step === 'symbol' ? '' : step)),
        true,
      )
    }
  }
  return offset
}

/** Throws ConfigError when the file cannot be read, is not YAML, or is not a list of keys and values. */
export function readConfigFile(name: string): ConfigFile {
  return parseConfigFile(name, readText(name))
}

export function parseConfigFile(name: string, text: string): ConfigFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true })
  if (document.errors.length > 0) {
    throw new ConfigError(
      document.errors.map((error) => ({
        where: `${name}:${lines.linePos(error.pos[0]).line}`,
        message: `is not YAML: ${error.message}`,
      })),
    )
  }
  // An unknown tag: `token: !secret x` would become the token "x".
  if (document.warnings.length > 0) {
    throw new ConfigError(
      document.warnings.map(({ pos, message }) => ({
        where: `${name}:${lines.linePos(pos[0]).line}`,
        message: `${message}: no such tag is known here, and what stands behind it would be taken as plain text. Write the value itself, in quotes if it begins with "!"`,
      })),
    )
  }
  const values = valuesOf(name, document)
  if (values !== null && values !== undefined && !isRecord(values)) {
    throw new ConfigError([{ where: `${name}:1`, message: 'must hold keys and values, such as `mqtt:`' }])
  }
  return {
    name,
    values: values ?? {},
    lineOf(path) {
      const offset = positionOf(document, path)
      return offset === undefined ? undefined : lines.linePos(offset).line
    },
  }
}

/** An alias of an alias of an alias … is a small file and an endless value. */
const MAX_ALIASES = 100

function valuesOf(name: string, document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (error) {
    throw new ConfigError([{ where: name, message: `cannot be read: ${messageOf(error)}` }])
  }
}
