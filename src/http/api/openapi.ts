import { setImmediate as nextTurn } from 'node:timers/promises'
import { z } from 'zod'
import { ERROR_CODES } from '../../kernel/errors.ts'
import { valueSchema } from '../../protocol/descriptions.ts'
import { RESULTS } from '../../protocol/results.ts'
import { VERBS, type VerbDefinition, type VerbName } from '../../protocol/verbs.ts'
import { STATUS_OF } from './problem.ts'

type Json = Record<string, unknown>

let made: { version: string; bytes: Promise<Buffer> } | undefined

/**
 * Resolves to the OpenAPI 3.1 document of the API, as JSON. It is made once, from the schemas that check requests: the arguments
 * or the result of a verb in each turn of the event loop, because whoever has not signed in may be the first to ask. `pause` ends a turn.
 */
export function openApi(version: string, pause: () => Promise<unknown> = () => nextTurn()): Promise<Buffer> {
  if (made?.version !== version) made = { version, bytes: inTurns(version, pause) }
  return made.bytes
}

async function inTurns(version: string, pause: () => Promise<unknown>): Promise<Buffer> {
  const paths: Json = {}
  for (const name of Object.keys(VERBS) as VerbName[]) {
    const args = schemaOf(VERBS[name].args)
    await pause()
    paths[pathOf(name)] = { post: verbOperation(name, args, schemaOf(RESULTS[name])) }
    await pause()
  }
  return Buffer.from(JSON.stringify(openApiDocument(version, paths)))
}

/** Returns the same as a value. */
export function openApiDocument(version: string, verbs = verbPaths()): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Limb Bridge',
      version,
      summary: 'Devices that people and agents can trust, over HTTP.',
      description:
        'One view of the table of verbs: the same rights, limits, audit and errors as over MQTT. Lists page by `after`, with the `next` of the page before.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'The bridge that served this document.' }],
    security: [{ bearer: [] }, { basic: [] }],
    tags: [
      { name: 'verbs', description: 'What a principal can ask.' },
      { name: 'events', description: 'What happens, as it happens.' },
      { name: 'limbs', description: 'Devices that speak HTTP.' },
    ],
    paths: { ...verbs, ...eventPath(), ...limbPaths() },
    components: {
      securitySchemes: securitySchemes(),
      schemas: { Problem: problemSchema(), ...shared },
      responses: responses(),
    },
  }
}

/** Schemas that others refer to, by name. */
const shared: Record<string, unknown> = {}

function schemaOf(type: z.ZodType): Json {
  const named = z.registry<{ id?: string }>()
  named.add(valueSchema, { id: 'ValueSchema' })
  const {
    $schema: _schema,
    $defs,
    ...rest
  } = z.toJSONSchema(type, {
    metadata: named,
    target: 'draft-2020-12',
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
    },
  }) as Json
  Object.assign(shared, referringHere($defs ?? {}))
  return referringHere(rest) as Json
}

/** Definitions stand in the components of the document. */
function referringHere(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll('"#/$defs/', '"#/components/schemas/'))
}

const json = (schema: Json) => ({ 'application/json': { schema } })
const problems = { default: { $ref: '#/components/responses/Problem' } }

function verbPaths(): Json {
  const names = Object.keys(VERBS) as VerbName[]
  return Object.fromEntries(
    names.map((name) => {
      const operation = verbOperation(name, schemaOf(VERBS[name].args), schemaOf(RESULTS[name]))
      return [pathOf(name), { post: operation }]
    }),
  )
}

const pathOf = (name: VerbName) => `/api/v1/${name}`

function verbOperation(name: VerbName, args: Json, result: Json): Json {
  const definition: VerbDefinition = VERBS[name]
  const needed = Object.values(definition.args.shape).some(
    (arg) => !(arg as z.ZodType).safeParse(undefined).success,
  )
  return {
    operationId: name.replace(/[^A-Za-z0-9]+(.)/g, (_all, letter: string) => letter.toUpperCase()),
    tags: ['verbs'],
    summary: definition.summary,
    description: `Needs the role \`${definition.role}\`.`,
    requestBody: { required: needed, content: json(args) },
    responses: { 200: { description: 'Done.', content: json(result) }, ...problems },
  }
}

function eventPath(): Json {
  return {
    '/api/v1/events': {
      get: {
        operationId: 'events',
        tags: ['events'],
        summary: 'Follow everything that is published, as Server-Sent Events.',
        description:
          'First `retained` and the retained state as of now, then each message as `{topic, retain, payload}`. With `Last-Event-ID` only what was missed, while it is still kept.',
        parameters: [
          {
            name: 'data',
            in: 'query',
            description: 'also what limbs publish on `data/…`',
            schema: { type: 'boolean', default: false },
          },
          { name: 'Last-Event-ID', in: 'header', schema: { type: 'string' } },
        ],
        responses: {
          200: {
            description: 'The stream.',
            content: { 'text/event-stream': { schema: { type: 'string' } } },
          },
          ...problems,
        },
      },
    },
  }
}

const LIMB_POSTS: Readonly<Record<string, readonly [summary: string, description: string]>> = {
  register: [
    'Ask to be paired, or say what has changed.',
    'Answers what `pairing` would say on MQTT; register again to ask for the decision.',
  ],
  heartbeat: ['Be online.', 'The payload of a heartbeat on MQTT.'],
  deregister: ['Go offline until the next heartbeat.', 'The limb stays paired.'],
  result: ['Answer an invocation.', 'The payload of `result` on MQTT.'],
}

function limbPaths(): Json {
  const body = {
    type: 'object',
    properties: {
      nodeId: { type: 'string', description: 'who it is; the user name of HTTP Basic says it too' },
      apiKey: { type: 'string', description: 'its key, when the header does not carry it' },
    },
    required: ['nodeId'],
    additionalProperties: true,
  }
  const answer = {
    type: 'object',
    properties: { status: { type: 'string' } },
    required: ['status'],
    additionalProperties: true,
  }
  const posts = Object.entries(LIMB_POSTS).map(([leaf, [summary, description]]) => [
    `/api/limb/${leaf}`,
    {
      post: {
        operationId: `limb${leaf.charAt(0).toUpperCase()}${leaf.slice(1)}`,
        tags: ['limbs'],
        summary,
        description,
        requestBody: { required: true, content: json(body) },
        responses: { 200: { description: 'Taken.', content: json(answer) }, ...problems },
      },
    },
  ])
  return {
    ...Object.fromEntries(posts),
    '/api/limb/invoke': {
      get: {
        operationId: 'limbInvoke',
        tags: ['limbs'],
        summary: 'Wait for an invocation.',
        description: 'A long poll. Answer the invocation with `POST /api/limb/result`.',
        parameters: [
          {
            name: 'nodeId',
            in: 'query',
            description: 'who it is, with a bearer key',
            schema: { type: 'string' },
          },
          {
            name: 'wait',
            in: 'query',
            description: 'seconds to wait for one',
            schema: { type: 'integer', minimum: 0, maximum: 50, default: 30 },
          },
        ],
        responses: {
          200: {
            description: 'An invocation.',
            content: json({ type: 'object', additionalProperties: true }),
          },
          204: { description: 'None came in time; ask again.' },
          ...problems,
        },
      },
    },
  }
}

function securitySchemes(): Json {
  return {
    bearer: { type: 'http', scheme: 'bearer', description: 'a token of `token/add`; a limb sends its key' },
    basic: {
      type: 'http',
      scheme: 'basic',
      description: 'name and password of a principal; a limb sends nodeId and key',
    },
  }
}

function problemSchema(): Json {
  return {
    type: 'object',
    description: 'RFC 9457; `code` is a promise that programs may branch on.',
    properties: {
      type: { type: 'string' },
      title: { type: 'string' },
      status: { type: 'integer', enum: [...new Set([...Object.values(STATUS_OF), 405, 413, 415])].sort() },
      detail: { type: 'string', description: 'what to do' },
      code: { type: 'string', enum: Object.keys(ERROR_CODES) },
      path: { type: 'string', description: 'the offending argument' },
      details: { type: 'object', additionalProperties: true },
    },
    required: ['type', 'title', 'status', 'detail', 'code'],
  }
}

function responses(): Json {
  return {
    Problem: {
      description: 'Refused.',
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    },
  }
}
