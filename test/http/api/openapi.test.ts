import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { describe, expect, it } from 'vitest'

const FILE = join(import.meta.dirname, '../../../docs/openapi.json')

interface Operation {
  readonly operationId?: string
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
}

interface OpenApi {
  readonly openapi: string
  readonly paths: Record<string, Record<string, Operation>>
}

const read = () => JSON.parse(readFileSync(FILE, 'utf8')) as OpenApi
const validate = (document: OpenApi) => new Validator().validate({ ...document })

/** Every object below a value that has a reference. */
function referencesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  const own = '$ref' in value && typeof value.$ref === 'string' ? [value.$ref] : []
  return [...own, ...Object.values(value).flatMap(referencesIn)]
}

describe('the OpenAPI document', () => {
  it("is valid by the schema of OpenAPI 3.1 that the specification's authors publish", async () => {
    const document = read()
    expect(document.openapi).toMatch(/^3\.1\./)
    expect(await validate(document)).toEqual({ valid: true })
  })

  it('would not be with an operation whose responses have no status', async () => {
    const document = read()
    Object.assign(document.paths['/api/v1/invoke']?.post ?? {}, { responses: { ok: 1 } })
    expect((await validate(document)).valid).toBe(false)
  })

  it('has references that lead somewhere, operations of one name each, and every parameter of its paths', () => {
    const document = read()
    const at = (reference: string) =>
      reference
        .replace(/^#\//, '')
        .split('/')
        .map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~'))
        .reduce<unknown>((value, part) => Reflect.get(Object(value), part), document)
    expect(referencesIn(document).filter((reference) => at(reference) === undefined)).toEqual([])
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.values(methods).map((operation) => ({ path, ...operation })),
    )
    const ids = operations.map(({ operationId }) => operationId)
    expect(ids.length).toBeGreaterThan(40)
    expect(ids.filter((id, i) => id === undefined || ids.indexOf(id) !== i)).toEqual([])
    for (const { path, parameters = [] } of operations) {
      const wanted = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name)
      expect(
        parameters.filter((each) => each.in === 'path').map(({ name }) => name),
        path,
      ).toEqual(wanted)
    }
  })
})
