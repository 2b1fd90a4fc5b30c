/** Messages in the form that firmware sends; the names and numbers are ours. */

/** ESPHome 2025: a switch, a dimmed light and two sensors of one board. */
const BOARD = {
  ids: 'a0b1c2d3e4f5',
  name: 'Kitchen board',
  sw: '2025.8.0',
  mdl: 'esp32dev',
  mf: 'Espressif',
  sa: 'Kitchen',
  cu: 'http://192.168.1.60/',
}

export const ESPHOME: Readonly<Record<string, object>> = {
  'homeassistant/sensor/kitchen/temperature/config': {
    dev_cla: 'temperature',
    unit_of_meas: '°C',
    stat_cla: 'measurement',
    name: 'Temperature',
    stat_t: 'kitchen/sensor/temperature/state',
    avty_t: 'kitchen/status',
    uniq_id: 'ESPsensortemperature',
    dev: BOARD,
  },
  'homeassistant/binary_sensor/kitchen/window/config': {
    dev_cla: 'window',
    name: 'Window',
    stat_t: 'kitchen/binary_sensor/window/state',
    avty_t: 'kitchen/status',
    uniq_id: 'ESPbinary_sensorwindow',
    dev: BOARD,
  },
  'homeassistant/switch/kitchen/relay/config': {
    name: 'Relay',
    stat_t: 'kitchen/switch/relay/state',
    cmd_t: 'kitchen/switch/relay/command',
    avty_t: 'kitchen/status',
    uniq_id: 'ESPswitchrelay',
    dev: BOARD,
  },
  'homeassistant/light/kitchen/strip/config': {
    schema: 'json',
    name: 'Strip',
    stat_t: 'kitchen/light/strip/state',
    cmd_t: 'kitchen/light/strip/command',
    avty_t: 'kitchen/status',
    uniq_id: 'ESPlightstrip',
    brightness: true,
    sup_clrm: ['brightness'],
    dev: BOARD,
  },
  'homeassistant/lock/kitchen/door/config': {
    name: 'Door',
    stat_t: 'kitchen/lock/door/state',
    cmd_t: 'kitchen/lock/door/command',
    avty_t: 'kitchen/status',
    uniq_id: 'ESPlockdoor',
    dev: BOARD,
  },
}

const Z2M = 'zigbee2mqtt_bridge_0x00124b0024c1a2b3'
const BEHIND = { via_device: Z2M, manufacturer: 'IKEA', sw_version: '2.3.087' }
const REACHABLE = {
  availability: [
    { topic: 'zigbee2mqtt/bridge/state', value_template: '{{ value_json.state }}' },
    { topic: 'zigbee2mqtt/0x000b57fffec6a5b2/availability', value_template: '{{ value_json.state }}' },
  ],
  availability_mode: 'all',
}

/** Zigbee2MQTT 2: the coordinator, a bulb with its link quality, and a contact sensor. */
export const ZIGBEE: Readonly<Record<string, object>> = {
  'homeassistant/switch/1221051039810110150109113116116_0x00124b0024c1a2b3/permit_join/config': {
    name: 'Permit join',
    command_topic: 'zigbee2mqtt/bridge/request/permit_join',
    state_topic: 'zigbee2mqtt/bridge/info',
    value_template: '{{ value_json.permit_join | lower }}',
    payload_on: '{"time": 254}',
    payload_off: '{"time": 0}',
    state_on: 'true',
    state_off: 'false',
    object_id: 'zigbee2mqtt_bridge_permit_join',
    device: { identifiers: [Z2M], manufacturer: 'Zigbee2MQTT', model: 'Bridge', name: 'Zigbee2MQTT Bridge' },
  },
  'homeassistant/light/0x000b57fffec6a5b2/light/config': {
    name: null,
    schema: 'json',
    command_topic: 'zigbee2mqtt/0x000b57fffec6a5b2/set',
    state_topic: 'zigbee2mqtt/0x000b57fffec6a5b2',
    brightness: true,
    brightness_scale: 254,
    supported_color_modes: ['color_temp'],
    min_mireds: 250,
    max_mireds: 454,
    object_id: 'hall_bulb',
    unique_id: '0x000b57fffec6a5b2_light_zigbee2mqtt',
    device: {
      ...BEHIND,
      identifiers: ['zigbee2mqtt_0x000b57fffec6a5b2'],
      model: 'TRADFRI bulb',
      name: 'Hall bulb',
    },
    ...REACHABLE,
  },
  'homeassistant/sensor/0x000b57fffec6a5b2/linkquality/config': {
    name: 'Linkquality',
    state_topic: 'zigbee2mqtt/0x000b57fffec6a5b2',
    value_template: '{{ value_json.linkquality }}',
    unit_of_measurement: 'lqi',
    state_class: 'measurement',
    entity_category: 'diagnostic',
    object_id: 'hall_bulb_linkquality',
    device: {
      ...BEHIND,
      identifiers: ['zigbee2mqtt_0x000b57fffec6a5b2'],
      model: 'TRADFRI bulb',
      name: 'Hall bulb',
    },
    ...REACHABLE,
  },
  'homeassistant/binary_sensor/0x00158d0002ab12cd/contact/config': {
    name: null,
    device_class: 'door',
    state_topic: 'zigbee2mqtt/0x00158d0002ab12cd',
    value_template: '{{ value_json.contact }}',
    payload_on: false,
    payload_off: true,
    object_id: 'door_contact',
    device: {
      ...BEHIND,
      identifiers: ['zigbee2mqtt_0x00158d0002ab12cd'],
      model: 'MCCGQ11LM',
      name: 'Front door',
    },
    availability: [{ topic: 'zigbee2mqtt/bridge/state', value_template: '{{ value_json.state }}' }],
  },
}

/** Tasmota 14: a plug that measures. */
export const TASMOTA: Readonly<Record<string, object>> = {
  'tasmota/discovery/A4CF12B3C4D5/config': {
    ip: '192.168.1.61',
    dn: 'Desk plug',
    fn: ['Desk plug', null, null, null, null, null, null, null],
    hn: 'tasmota-b3c4d5-1237',
    mac: 'A4CF12B3C4D5',
    md: 'NOUS A1T',
    ty: 0,
    if: 0,
    ofln: 'Offline',
    onln: 'Online',
    state: ['OFF', 'ON', 'TOGGLE', 'HOLD'],
    sw: '14.2.0',
    t: 'plug1',
    ft: '%prefix%/%topic%/',
    tp: ['cmnd', 'stat', 'tele'],
    rl: [1, 0, 0, 0, 0, 0, 0, 0],
    swc: [-1, -1, -1, -1, -1, -1, -1, -1],
    btn: [0, 0, 0, 0, 0, 0, 0, 0],
    so: { 4: 0, 11: 0, 13: 0, 17: 0, 20: 0, 30: 0, 68: 0, 73: 0, 82: 0, 114: 0, 117: 0 },
    lk: 0,
    lt_st: 0,
    ver: 1,
  },
  'tasmota/discovery/A4CF12B3C4D5/sensors': {
    sn: {
      Time: '2026-11-29T09:00:00',
      ENERGY: {
        TotalStartTime: '2026-01-01T00:00:00',
        Total: 12.345,
        Yesterday: 0.5,
        Today: 0.25,
        Power: 42,
        ApparentPower: 45,
        ReactivePower: 12,
        Factor: 0.93,
        Voltage: 231,
        Current: 0.195,
      },
      TempUnit: 'C',
    },
    ver: 1,
  },
}
