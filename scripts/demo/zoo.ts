import { join } from 'node:path'
import { Limb, type LimbOptions, picture } from '../../src/client/client.ts'
import type { WireRegistration } from '../../src/protocol/schemas.ts'
import { yard } from './picture.ts'

/** Seventeen devices that describe themselves, for `npm run demo` and for the tests of the console; firmware.ts has three more. */

export interface Animal {
  readonly nodeId: string
  readonly registration: WireRegistration
  readonly handlers: LimbOptions['handlers']
  /** What it measures, published on `data/…`; asked every few seconds. */
  readonly measure?: () => Readonly<Record<string, unknown>>
  readonly heartbeat?: LimbOptions['heartbeat']
  /** Leaves when it has measured, and comes again after so many milliseconds. */
  readonly sleepsMs?: number
}

function lamp(nodeId: string, displayName: string, area: string): Animal {
  const state = { on: false, brightness: 40, colour: 'warm' }
  const set = (params: unknown) => {
    Object.assign(state, params)
    return { ...state }
  }
  return {
    nodeId,
    registration: {
      displayName,
      platform: 'esp32',
      firmware: '2.1.0',
      model: 'Glow 800',
      manufacturer: 'Lumen & Sons',
      area,
      description: 'A lamp that can be dimmed.',
      heartbeatSeconds: 5,
      capabilities: [
        {
          cap: 'light',
          authLevel: 'free',
          commands: [
            {
              name: 'light.set',
              title: 'Set the light',
              description: 'Switches, dims and colours it.',
              input: {
                type: 'object',
                properties: {
                  on: { type: 'boolean', title: 'On' },
                  brightness: { type: 'integer', title: 'Brightness', minimum: 0, maximum: 100, unit: '%' },
                  colour: { type: 'string', title: 'Colour', enum: ['warm', 'neutral', 'cold'] },
                },
              },
            },
            { name: 'light.blink', title: 'Blink', description: 'Three times, to be found.' },
          ],
        },
      ],
      properties: [
        {
          name: 'on',
          title: 'Light',
          topic: 'data/light',
          pointer: '/on',
          type: 'boolean',
          set: { command: 'light.set', param: 'on' },
        },
        {
          name: 'brightness',
          title: 'Brightness',
          topic: 'data/light',
          pointer: '/brightness',
          type: 'integer',
          unit: '%',
          minimum: 0,
          maximum: 100,
          set: { command: 'light.set', param: 'brightness' },
        },
        {
          name: 'colour',
          title: 'Colour',
          topic: 'data/light',
          pointer: '/colour',
          type: 'string',
          enum: ['warm', 'neutral', 'cold'],
          set: { command: 'light.set', param: 'colour' },
        },
      ],
    },
    handlers: { 'light.set': ({ params }) => set(params), 'light.blink': () => ({ blinked: 3 }) },
    measure: () => ({ light: state }),
    heartbeat: () => ({ metrics: { watt: state.on ? Math.round(state.brightness * 0.09 * 10) / 10 : 0.3 } }),
  }
}

function lock(nodeId: string, displayName: string, area: string): Animal {
  const state = { locked: true }
  return {
    nodeId,
    registration: {
      displayName,
      platform: 'nrf52',
      firmware: '1.4.2',
      model: 'Bolt S',
      area,
      description: 'A lock. Opening it needs the consent of a person.',
      heartbeatSeconds: 5,
      capabilities: [
        {
          cap: 'lock',
          authLevel: 'gated',
          commands: [
            {
              name: 'lock.open',
              title: 'Open the door',
              description: 'Stays open for so many seconds.',
              input: {
                type: 'object',
                properties: {
                  seconds: {
                    type: 'integer',
                    title: 'For how long',
                    minimum: 1,
                    maximum: 120,
                    default: 10,
                    unit: 's',
                  },
                },
              },
            },
          ],
        },
        { cap: 'bell', authLevel: 'free', commands: [{ name: 'bell.ring', title: 'Ring' }] },
      ],
      properties: [
        {
          name: 'locked',
          title: 'Locked',
          topic: 'data/lock',
          pointer: '/locked',
          type: 'boolean',
          readOnly: true,
        },
      ],
    },
    handlers: {
      'lock.open': ({ params }) => {
        state.locked = false
        setTimeout(() => {
          state.locked = true
        }, 10_000).unref()
        return { open: true, ...(params as object) }
      },
      'bell.ring': () => ({ rang: true }),
    },
    measure: () => ({ lock: state }),
    heartbeat: () => ({ metrics: { battery: 87 } }),
  }
}

function camera(nodeId: string, displayName: string, area: string): Animal {
  let turn = 0
  return {
    nodeId,
    registration: {
      displayName,
      platform: 'linux',
      firmware: '5.0',
      area,
      description: 'Looks at the yard.',
      heartbeatSeconds: 5,
      capabilities: [
        {
          cap: 'camera',
          authLevel: 'free',
          commands: [{ name: 'camera.snap', title: 'Take a picture', safe: true, timeoutSeconds: 10 }],
        },
        {
          cap: 'lens',
          authLevel: 'leased',
          commands: [
            {
              name: 'lens.zoom',
              title: 'Zoom',
              input: {
                type: 'object',
                properties: { factor: { type: 'number', title: 'Factor', minimum: 1, maximum: 8 } },
                required: ['factor'],
              },
            },
          ],
        },
      ],
    },
    handlers: {
      'camera.snap': () => {
        turn += 0.17
        return { width: 320, height: 200, picture: picture('image/png', yard(turn)) }
      },
      'lens.zoom': ({ params }) => {
        const { factor } = params as { factor: number }
        if (factor > 7) throw new Error('the lens is stuck at 7')
        return { factor }
      },
    },
    heartbeat: () => ({ metrics: { fps: 24 + Math.round(Math.random()) } }),
  }
}

function blind(nodeId: string, displayName: string, area: string): Animal {
  let position = 100
  const moved = (to: number) => () => {
    position = to
    return { position }
  }
  const fixed = (name: string, title: string) => ({ name, title, input: { type: 'object' as const } })
  return {
    nodeId,
    registration: {
      displayName,
      platform: 'esp32',
      firmware: '1.4.2',
      area,
      description: 'A roller blind: 0 is closed, 100 is open.',
      heartbeatSeconds: 5,
      capabilities: [
        {
          cap: 'blind',
          authLevel: 'free',
          commands: [
            {
              name: 'blind.set',
              title: 'Move to',
              idempotent: true,
              input: {
                type: 'object',
                properties: {
                  position: { type: 'integer', title: 'Position', minimum: 0, maximum: 100, unit: '%' },
                },
                required: ['position'],
              },
            },
            fixed('blind.open', 'Open'),
            fixed('blind.close', 'Close'),
            fixed('blind.stop', 'Stop'),
          ],
        },
      ],
      properties: [
        {
          name: 'position',
          title: 'Position',
          topic: 'data/blind',
          pointer: '/position',
          type: 'integer',
          unit: '%',
          deviceClass: 'blind',
          minimum: 0,
          maximum: 100,
          set: { command: 'blind.set', param: 'position' },
        },
      ],
    },
    handlers: {
      'blind.set': ({ params }) => moved((params as { position: number }).position)(),
      'blind.open': moved(100),
      'blind.close': moved(0),
      'blind.stop': () => ({ position }),
    },
    measure: () => ({ blind: { position } }),
  }
}

function thermometer(nodeId: string, displayName: string, area: string, base: number): Animal {
  let now = base
  return {
    nodeId,
    registration: {
      displayName,
      platform: 'esp8266',
      area,
      presence: 'sleepy',
      heartbeatSeconds: 60,
      description: 'Wakes up, measures, sleeps.',
      capabilities: [],
      properties: [
        {
          name: 'temperature',
          title: 'Temperature',
          topic: 'data/climate',
          pointer: '/temperature',
          type: 'number',
          unit: 'Cel',
        },
        {
          name: 'humidity',
          title: 'Humidity',
          topic: 'data/climate',
          pointer: '/humidity',
          type: 'number',
          unit: '%',
        },
      ],
    },
    handlers: {},
    sleepsMs: 15_000,
    measure: () => {
      now += Math.random() - 0.5 + (base - now) * 0.1
      return {
        climate: { temperature: Math.round(now * 10) / 10, humidity: 48 + Math.round(Math.random() * 6) },
      }
    },
  }
}

const ROOMS = ['Hall', 'Kitchen', 'Attic'] as const

/** The last two are those that wait to be approved. */
export const ZOO: readonly Animal[] = [
  lamp('lamp1', 'Desk lamp', 'Study'),
  lock('door1', 'Front door', 'Hall'),
  camera('cam1', 'Yard camera', 'Garden'),
  thermometer('thermo1', 'Study thermometer', 'Study', 21),
  blind('blind1', 'Kitchen blind', 'Kitchen'),
  blind('blind2', 'Study blind', 'Study'),
  ...ROOMS.map((room, index) => lamp(`lamp${index + 2}`, `${room} lamp`, room)),
  lamp('lamp5', 'Garden lamp', 'Garden'),
  ...ROOMS.map((room, index) => thermometer(`thermo${index + 2}`, `${room} thermometer`, room, 17 + index)),
  lock('door2', 'Back door', 'Kitchen'),
  lock('door3', 'Shed', 'Garden'),
  camera('cam2', 'Street camera', 'Hall'),
  camera('cam3', 'Cellar camera', 'Cellar'),
]

export interface LiveAnimal {
  stop(): Promise<void>
}

const MEASURE_MS = 3000
/** A sleeping one stays so long when it has measured: what waited for it comes in that time. */
const AWAKE_MS = 1000

/** Lets it connect; its key is kept in `folder`. `onCode` is told the pairing code that it would show. */
export function release(
  animal: Animal,
  url: string,
  folder: string,
  onCode: (code: string) => void = () => {},
): LiveAnimal {
  const { sleepsMs } = animal
  let limb = visit(animal, url, folder, onCode, approved)
  const timer = sleepsMs === undefined ? setInterval(() => limb.measure(), MEASURE_MS) : undefined
  let nap: ReturnType<typeof setTimeout> | undefined
  let stopped = false
  function approved(): void {
    limb.measure()
    if (sleepsMs === undefined || nap !== undefined) return
    nap = setTimeout(async () => {
      await limb.stop()
      if (stopped) return
      nap = setTimeout(() => {
        nap = undefined
        limb = visit(animal, url, folder, onCode, approved)
      }, sleepsMs)
    }, AWAKE_MS)
  }
  return {
    async stop() {
      stopped = true
      clearInterval(timer)
      clearTimeout(nap)
      await limb.stop()
    },
  }
}

interface Visit extends LiveAnimal {
  measure(): void
}

/** One stay of a device at the bridge, from its first connection to its goodbye. */
function visit(
  { nodeId, registration, handlers, heartbeat, measure }: Animal,
  url: string,
  folder: string,
  onCode: (code: string) => void,
  approved: () => void,
): Visit {
  const limb = new Limb({
    url,
    nodeId,
    registration,
    keyFile: join(folder, `${nodeId}.key`),
    handlers: told(handlers),
    ...(heartbeat === undefined ? {} : { heartbeat }),
    onEvent: (event) => {
      if (event.kind === 'pending') onCode(event.code)
      else if (event.kind === 'approved') approved()
    },
  })
  function tell(): void {
    for (const [path, value] of Object.entries(measure?.() ?? {})) {
      limb.publish(path, JSON.stringify(value), { retain: true })
    }
  }
  // What a command changed shows at once.
  function told(each: LimbOptions['handlers']): LimbOptions['handlers'] {
    return Object.fromEntries(
      Object.entries(each).map(([name, handler]) => [
        name,
        async (...given: Parameters<typeof handler>) => {
          const answer = await handler(...given)
          tell()
          return answer
        },
      ]),
    )
  }
  limb.start()
  return { measure: tell, stop: () => limb.stop() }
}
