/**
 * The short names that discovery messages may use (Home Assistant's page "MQTT", section "Discovery payload"), for the
 * options that are read here. Others stay as they are, and are not looked at.
 */

const TOPIC_AND_TEMPLATE: Readonly<Record<string, string>> = {
  act: 'action',
  bri_cmd: 'brightness_command',
  bri_stat: 'brightness_state',
  clr_temp_cmd: 'color_temp_command',
  clr_temp_stat: 'color_temp_state',
  cmd: 'command',
  curr_hum: 'current_humidity',
  curr_temp: 'current_temperature',
  fan_mode_cmd: 'fan_mode_command',
  fan_mode_stat: 'fan_mode_state',
  fx_cmd: 'effect_command',
  fx_stat: 'effect_state',
  hum_cmd: 'target_humidity_command',
  hum_stat: 'target_humidity_state',
  mode_cmd: 'mode_command',
  mode_stat: 'mode_state',
  osc_cmd: 'oscillation_command',
  osc_stat: 'oscillation_state',
  pct_cmd: 'percentage_command',
  pct_stat: 'percentage_state',
  pos: 'position',
  pr_mode_cmd: 'preset_mode_command',
  pr_mode_stat: 'preset_mode_state',
  rgb_cmd: 'rgb_command',
  rgb_stat: 'rgb_state',
  send_cmd: 'send_command',
  set_fan_spd: 'set_fan_speed',
  set_pos: 'set_position',
  stat: 'state',
  swing_mode_cmd: 'swing_mode_command',
  swing_mode_stat: 'swing_mode_state',
  temp_cmd: 'temperature_command',
  temp_stat: 'temperature_state',
  tilt_cmd: 'tilt_command',
  tilt_status: 'tilt_status',
}

const VALUE_TEMPLATES: Readonly<Record<string, string>> = {
  bri_val: 'brightness_value',
  clr_temp_val: 'color_temp_value',
  fx_val: 'effect_value',
  osc_val: 'oscillation_value',
  pct_val: 'percentage_value',
  pr_mode_val: 'preset_mode_value',
  rgb_val: 'rgb_value',
  stat_val: 'state_value',
  val: 'value',
}

const SINGLE: Readonly<Record<string, string>> = {
  avty: 'availability',
  avty_mode: 'availability_mode',
  avty_t: 'availability_topic',
  avty_tpl: 'availability_template',
  bri_scl: 'brightness_scale',
  bri: 'brightness',
  clr_temp_k: 'color_temp_kelvin',
  cmps: 'components',
  def_ent_id: 'default_entity_id',
  dev: 'device',
  dev_cla: 'device_class',
  e: 'encoding',
  ent_cat: 'entity_category',
  evt_typ: 'event_types',
  fanspd_lst: 'fan_speed_list',
  fx: 'effect',
  fx_list: 'effect_list',
  l_ver_t: 'latest_version_topic',
  l_ver_tpl: 'latest_version_template',
  max_k: 'max_kelvin',
  max_hum: 'max_humidity',
  max_mirs: 'max_mireds',
  min_k: 'min_kelvin',
  min_hum: 'min_humidity',
  min_mirs: 'min_mireds',
  o: 'origin',
  obj_id: 'object_id',
  ops: 'options',
  p: 'platform',
  pl: 'payload',
  pl_arm_away: 'payload_arm_away',
  pl_arm_home: 'payload_arm_home',
  pl_arm_nite: 'payload_arm_night',
  pl_avail: 'payload_available',
  pl_cln_sp: 'payload_clean_spot',
  pl_cls: 'payload_close',
  pl_disarm: 'payload_disarm',
  pl_inst: 'payload_install',
  pl_lock: 'payload_lock',
  pl_loc: 'payload_locate',
  pl_not_avail: 'payload_not_available',
  pl_off: 'payload_off',
  pl_on: 'payload_on',
  pl_open: 'payload_open',
  pl_osc_off: 'payload_oscillation_off',
  pl_osc_on: 'payload_oscillation_on',
  pl_paus: 'payload_pause',
  pl_prs: 'payload_press',
  pl_ret: 'payload_return_to_base',
  pl_stop: 'payload_stop',
  pl_strt: 'payload_start',
  pl_unlk: 'payload_unlock',
  pos_clsd: 'position_closed',
  pos_open: 'position_open',
  pr_modes: 'preset_modes',
  spd_rng_max: 'speed_range_max',
  spd_rng_min: 'speed_range_min',
  stat_cla: 'state_class',
  stat_closed: 'state_closed',
  stat_clsd: 'state_closed',
  stat_locked: 'state_locked',
  stat_off: 'state_off',
  stat_on: 'state_on',
  stat_open: 'state_open',
  stat_unlocked: 'state_unlocked',
  sup_clrm: 'supported_color_modes',
  sup_feat: 'supported_features',
  t: 'topic',
  uniq_id: 'unique_id',
  unit_of_meas: 'unit_of_measurement',
}

const OF_DEVICE: Readonly<Record<string, string>> = {
  cns: 'connections',
  cu: 'configuration_url',
  hw: 'hw_version',
  ids: 'identifiers',
  mdl: 'model',
  mf: 'manufacturer',
  sa: 'suggested_area',
  sn: 'serial_number',
  sw: 'sw_version',
}

const LONG: ReadonlyMap<string, string> = new Map([
  ...Object.entries(TOPIC_AND_TEMPLATE).flatMap(([short, long]): [string, string][] => [
    [`${short}_t`, `${long}_topic`],
    [`${short}_tpl`, `${long}_template`],
  ]),
  ...Object.entries(VALUE_TEMPLATES).map(([short, long]): [string, string] => [
    `${short}_tpl`,
    `${long}_template`,
  ]),
  ...Object.entries(SINGLE),
])
const LONG_OF_DEVICE: ReadonlyMap<string, string> = new Map(Object.entries(OF_DEVICE))

export type DiscoveryOptions = Readonly<Record<string, unknown>>

export function isConfig(value: unknown): value is DiscoveryOptions {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns the options by their long names; a long name that is there too wins. */
export function longNames(config: DiscoveryOptions): DiscoveryOptions {
  return renamed(config, LONG)
}

export function longNamesOfDevice(device: DiscoveryOptions): DiscoveryOptions {
  return renamed(device, LONG_OF_DEVICE)
}

function renamed(config: DiscoveryOptions, names: ReadonlyMap<string, string>): DiscoveryOptions {
  const short = Object.entries(config).map(([key, value]): [string, unknown] => [
    names.get(key) ?? key,
    value,
  ])
  const long = Object.entries(config).filter(([key]) => !names.has(key))
  return Object.fromEntries([...short, ...long])
}

/** Puts the base topic `~` where a topic begins or ends with it. */
export function withBase(config: DiscoveryOptions, base: unknown): DiscoveryOptions {
  if (typeof base !== 'string') return config
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key, key.endsWith('topic') ? based(value, base) : value]),
  )
}

function based(value: unknown, base: string): unknown {
  if (typeof value !== 'string') return value
  if (value.startsWith('~')) return base + value.slice(1)
  return value.endsWith('~') ? value.slice(0, -1) + base : value
}
