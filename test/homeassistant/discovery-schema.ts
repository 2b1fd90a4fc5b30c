import { z } from 'zod'

/**
 * Home Assistant's MQTT device discovery, written down from its documentation (integrations/mqtt: "Device
 * discovery payload", and the pages of the MQTT binary sensor, sensor, button and switch). Strict: an option
 * that a platform does not know makes Home Assistant refuse the component.
 */

const topic = z
  .string()
  .min(1)
  .regex(/^[^+#\0]+$/)
const template = z.string().regex(/^\{\{.*\}\}$/)
const uniqueId = z.string().min(1)

const availability = z.array(
  z.strictObject({
    topic,
    payload_available: z.string().optional(),
    payload_not_available: z.string().optional(),
    value_template: template.optional(),
  }),
)

const entity = {
  name: z.string().min(1),
  unique_id: uniqueId,
  entity_category: z.enum(['config', 'diagnostic']).optional(),
  enabled_by_default: z.boolean().optional(),
  icon: z.string().optional(),
  availability: availability.optional(),
  availability_mode: z.enum(['all', 'any', 'latest']).optional(),
  qos: z.literal([0, 1, 2]).optional(),
}

const binarySensor = z.strictObject({
  platform: z.literal('binary_sensor'),
  ...entity,
  device_class: z.enum(['connectivity', 'problem', 'running']).optional(),
  state_topic: topic,
  value_template: template.optional(),
  payload_on: z.string().optional(),
  payload_off: z.string().optional(),
})

/** Units that the sensor device classes in use accept. */
const UNITS: Record<string, readonly (string | undefined)[]> = {
  temperature: ['°C', '°F', 'K'],
  voltage: ['V', 'mV'],
  current: ['A', 'mA'],
  power: ['W', 'kW', 'mW'],
  frequency: ['Hz', 'kHz', 'MHz', 'GHz'],
  pressure: ['Pa', 'kPa', 'hPa', 'bar'],
  illuminance: ['lx'],
  distance: ['m', 'km', 'cm', 'mm'],
  duration: ['s', 'min', 'h', 'd', 'ms'],
  data_size: ['B', 'kB', 'MB', 'GB'],
  signal_strength: ['dBm', 'dB'],
  battery: ['%'],
  humidity: ['%'],
  enum: [undefined],
  timestamp: [undefined],
}

const sensor = z
  .strictObject({
    platform: z.literal('sensor'),
    ...entity,
    device_class: z.enum(Object.keys(UNITS) as [string, ...string[]]).optional(),
    state_class: z.enum(['measurement', 'total', 'total_increasing']).optional(),
    unit_of_measurement: z.string().min(1).optional(),
    options: z.array(z.string()).optional(),
    expire_after: z.int().positive().optional(),
    state_topic: topic,
    value_template: template.optional(),
  })
  .refine(
    ({ device_class, unit_of_measurement }) =>
      device_class === undefined || UNITS[device_class]?.includes(unit_of_measurement),
    { error: 'the unit is not one of the device class' },
  )
  .refine(({ device_class, options }) => (options === undefined) === (device_class !== 'enum'), {
    error: 'options and device class enum go together',
  })
  .refine(
    ({ device_class, state_class }) =>
      state_class === undefined || (device_class !== 'enum' && device_class !== 'timestamp'),
    { error: 'a state class is for numbers' },
  )

const button = z.strictObject({
  platform: z.literal('button'),
  ...entity,
  command_topic: topic,
  command_template: template.optional(),
  payload_press: z.string().optional(),
  retain: z.boolean().optional(),
})

const switchSchema = z.strictObject({
  platform: z.literal('switch'),
  ...entity,
  command_topic: topic,
  state_topic: topic.optional(),
  value_template: template.optional(),
  payload_on: z.string().optional(),
  payload_off: z.string().optional(),
  state_on: z.string().optional(),
  state_off: z.string().optional(),
  retain: z.boolean().optional(),
})

/** A component with its platform alone is removed. */
const removal = z.strictObject({
  platform: z.enum(['binary_sensor', 'sensor', 'button', 'switch', 'light']),
})

/** Home Assistant's schemas of these are in home_assistant_schemas.py, with those of the others. */
const light = z.looseObject({
  ...entity,
  platform: z.literal('light'),
  state_topic: topic,
  command_topic: topic,
})

export const discoverySchema = z.strictObject({
  device: z.strictObject({
    identifiers: z.array(z.string().min(1)).min(1),
    name: z.string().min(1),
    model: z.string().optional(),
    manufacturer: z.string().optional(),
    serial_number: z.string().optional(),
    sw_version: z.string().optional(),
    hw_version: z.string().optional(),
    via_device: z.string().optional(),
    configuration_url: z.url().optional(),
    suggested_area: z.string().optional(),
  }),
  origin: z.strictObject({
    name: z.string().min(1),
    sw_version: z.string().optional(),
    support_url: z.url().optional(),
  }),
  components: z.record(
    // Home Assistant splits its own ids at spaces.
    z.string().regex(/^\S+$/),
    z.union([binarySensor, sensor, button, switchSchema, light, removal]),
  ),
  availability: availability.optional(),
  availability_mode: z.enum(['all', 'any', 'latest']).optional(),
  qos: z.literal([0, 1, 2]).optional(),
  state_topic: topic.optional(),
  command_topic: topic.optional(),
  encoding: z.string().optional(),
})

/** What follows `<prefix>/`: the form in which Home Assistant looks for discovery messages of devices. */
export const DISCOVERY_TOPIC = /^device\/(?:[a-zA-Z0-9_-]+\/)?[a-zA-Z0-9_-]+\/config$/
