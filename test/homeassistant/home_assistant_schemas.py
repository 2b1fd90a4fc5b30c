"""Home Assistant's schemas of MQTT discovery, written down anew with the library that it uses itself (voluptuous).

Reads {"messages": [[topic, payload]...], "renders": [[template, payload or null, variables]...]} from standard input
and writes {"problems": [...], "rendered": [...]}. The sources are the pages of Home Assistant's MQTT integration and the
names and pairs in its components/mqtt and components/sensor; a platform refuses an option that it does not know.
"""
import json
import re
import sys

import jinja2
import voluptuous as vol

ENV = jinja2.Environment()


def topic(value):
    if not isinstance(value, str) or value == "" or re.search(r"[+#\0]", value):
        raise vol.Invalid("is no topic")
    return value


def template(value):
    if not isinstance(value, str):
        raise vol.Invalid("is no template")
    ENV.parse(value)
    return value


def whole(low=None):
    def check(value):
        if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
            raise vol.Invalid("is no whole number of at least %s" % low)
        return value
    return check


TEXT = vol.All(str, vol.Length(min=1))
WORDS = vol.All([TEXT], vol.Length(min=1), vol.Unique())
URL = vol.All(str, vol.Match(r"^https?://"))
AVAILABILITY = [vol.Schema({
    vol.Required("topic"): topic,
    vol.Optional("payload_available"): str,
    vol.Optional("payload_not_available"): str,
    vol.Optional("value_template"): template,
})]
ENTITY = {
    vol.Required("platform"): str,
    vol.Required("unique_id"): TEXT,
    vol.Optional("name"): vol.Any(None, TEXT),
    vol.Optional("entity_category"): vol.In(["config", "diagnostic"]),
    vol.Optional("enabled_by_default"): bool,
    vol.Optional("icon"): str,
    vol.Optional("availability"): AVAILABILITY,
    vol.Optional("availability_mode"): vol.In(["all", "any", "latest"]),
    vol.Optional("qos"): vol.In([0, 1, 2]),
    vol.Optional("json_attributes_topic"): topic,
    vol.Optional("json_attributes_template"): template,
}
READ = {vol.Required("state_topic"): topic, vol.Optional("value_template"): template}
READ_OR_GUESS = {vol.Optional("state_topic"): topic, vol.Optional("value_template"): template}
WRITE = {vol.Required("command_topic"): topic, vol.Optional("retain"): bool, vol.Optional("optimistic"): bool}
FORM = {vol.Optional("command_template"): template}


def platform(*parts, **options):
    merged = {}
    for part in (ENTITY,) + parts:
        merged.update(part)
    merged.update({vol.Optional(key): check for key, check in options.items()})
    return vol.Schema(merged)


M3 = "ft³ CCF m³ MCF".split()
UNITS = {
    "apparent_power": "mVA VA kVA", "aqi": None, "area": "m² cm² km² mm² in² ft² yd² mi² ac ha",
    "atmospheric_pressure": "Pa hPa kPa bar cbar mbar mmHg inHg psi", "battery": "%", "carbon_dioxide": "ppm",
    "carbon_monoxide": "ppm", "conductivity": "S/cm mS/cm µS/cm", "current": "A mA",
    "data_rate": "bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s GB/s KiB/s MiB/s GiB/s",
    "data_size": "bit kbit Mbit Gbit B kB MB GB TB PB EB ZB YB KiB MiB GiB TiB PiB EiB ZiB YiB",
    "distance": "km m cm mm mi nmi yd ft in", "duration": "d h min s ms",
    "energy": "J kJ MJ GJ mWh Wh kWh MWh GWh TWh cal kcal Mcal Gcal", "energy_distance": "kWh/100km mi/kWh km/kWh",
    "energy_storage": "J kJ MJ GJ mWh Wh kWh MWh GWh TWh cal kcal Mcal Gcal", "frequency": "Hz kHz MHz GHz",
    "gas": "ft³ CCF m³", "humidity": "%", "illuminance": "lx", "irradiance": "W/m² BTU/(h⋅ft²)", "moisture": "%",
    "nitrogen_dioxide": "µg/m³", "nitrogen_monoxide": "µg/m³", "nitrous_oxide": "µg/m³", "ozone": "µg/m³", "ph": None,
    "pm1": "µg/m³", "pm10": "µg/m³", "pm25": "µg/m³", "power": "mW W kW MW GW TW", "power_factor": "% NONE",
    "precipitation": "cm mm in", "precipitation_intensity": "in/d in/h mm/d mm/h",
    "pressure": "Pa hPa kPa bar cbar mbar mmHg inHg psi", "reactive_power": "var", "signal_strength": "dB dBm",
    "sound_pressure": "dB dBA", "speed": "ft/s in/s m/s km/h kn mph mm/s Beaufort in/d in/h mm/d mm/h",
    "sulphur_dioxide": "µg/m³", "temperature": "°C °F K", "volatile_organic_compounds": "µg/m³",
    "volatile_organic_compounds_parts": "ppb ppm", "voltage": "V mV µV kV MV", "volume": "ft³ CCF m³ L mL gal",
    "volume_flow_rate": "m³/h L/min ft³/min gal/min", "volume_storage": "ft³ CCF m³ L mL gal",
    "water": "ft³ CCF m³ L gal", "weight": "kg g mg µg oz lb st", "wind_direction": "°",
    "wind_speed": "ft/s m/s km/h kn mph Beaufort",
}
COUNTERS = ["energy", "gas", "volume", "water"]
BOTH = ["area", "data_size", "distance", "duration", "precipitation", "weight"]
WORDLESS = ["date", "enum", "timestamp"]


def allowed_states(device_class):
    if device_class in WORDLESS or device_class == "wind_direction":
        return []
    if device_class == "monetary":
        return ["total"]
    if device_class in COUNTERS:
        return ["total", "total_increasing"]
    return ["measurement", "total", "total_increasing"] if device_class in BOTH else ["measurement"]


def unit_fits(device_class, unit):
    if device_class == "monetary":
        return True
    if device_class in WORDLESS:
        return unit is None
    units = UNITS[device_class]
    if units is None:
        return unit is None
    return (unit or "NONE") in units.split()


def sensor_pairs(config):
    device_class, unit = config.get("device_class"), config.get("unit_of_measurement")
    state_class = config.get("state_class")
    if ("options" in config) != (device_class == "enum"):
        raise vol.Invalid("options go with the device class enum")
    if "options" in config and (state_class or unit):
        raise vol.Invalid("options go without a unit and a state class")
    if device_class and not unit_fits(device_class, unit):
        raise vol.Invalid("the unit %r is none of %s" % (unit, device_class))
    if device_class and state_class and state_class not in allowed_states(device_class):
        raise vol.Invalid("%s has no state class %s" % (device_class, state_class))
    return config


def number_pairs(config):
    if config.get("min", 1) > config.get("max", 100):
        raise vol.Invalid("min is above max")
    if config.get("device_class") and not unit_fits(config["device_class"], config.get("unit_of_measurement")):
        raise vol.Invalid("the unit is none of the device class")
    return config


def cover_pairs(config):
    if "set_position_topic" in config and "position_topic" not in config:
        raise vol.Invalid("set_position_topic needs position_topic")
    if "value_template" in config and "state_topic" not in config:
        raise vol.Invalid("value_template needs state_topic")
    if "position_template" in config and "position_topic" not in config:
        raise vol.Invalid("position_template needs position_topic")
    return config


def fan_pairs(config):
    if config.get("speed_range_min", 1) < 1 or config.get("speed_range_min", 1) >= config.get("speed_range_max", 100):
        raise vol.Invalid("speed_range_min is not below speed_range_max")
    if ("preset_mode_command_topic" in config) != ("preset_modes" in config):
        raise vol.Invalid("preset modes go with their topic")
    return config


def image_pairs(config):
    if ("image_topic" in config) == ("url_topic" in config):
        raise vol.Invalid("an image has a topic or an address")
    return config


def one_of(text):
    return vol.In(text.split())


def aspect(name):
    return {
        vol.Optional(name + "_state_topic"): topic,
        vol.Optional(name + "_value_template"): template,
        vol.Optional(name + "_command_topic"): topic,
        vol.Optional(name + "_command_template"): template,
    }


NUMBER = vol.Any(int, float)
PLATFORMS = {
    "binary_sensor": platform(
        READ, payload_on=str, payload_off=str, expire_after=whole(1), off_delay=whole(1),
        device_class=one_of(
            "battery battery_charging carbon_monoxide cold connectivity door garage_door gas heat light lock moisture "
            "motion moving occupancy opening plug power presence problem running safety smoke sound tamper update "
            "vibration window")),
    "button": platform({vol.Required("command_topic"): topic, vol.Optional("retain"): bool}, FORM, payload_press=str,
                       device_class=one_of("identify restart update")),
    "camera": platform({vol.Required("topic"): topic}, image_encoding=one_of("b64")),
    "cover": vol.All(platform(
        READ_OR_GUESS, WRITE, payload_open=vol.Any(None, str), payload_close=vol.Any(None, str),
        payload_stop=vol.Any(None, str), position_topic=topic, position_template=template, set_position_topic=topic,
        set_position_template=template, position_open=whole(), position_closed=whole(), state_open=str,
        state_closed=str, device_class=one_of("awning blind curtain damper door garage gate shade shutter window")),
        cover_pairs),
    "event": platform(READ, {vol.Required("event_types"): WORDS}, device_class=one_of("button doorbell motion")),
    "fan": vol.All(platform(
        {vol.Optional("state_topic"): topic, vol.Optional("state_value_template"): template}, WRITE, FORM,
        aspect("percentage"), aspect("preset_mode"), payload_on=str, payload_off=str, preset_modes=WORDS,
        speed_range_min=whole(1), speed_range_max=whole(1)), fan_pairs),
    "image": vol.All(platform(image_topic=topic, url_topic=topic, url_template=template, content_type=str,
                              image_encoding=one_of("b64")), image_pairs),
    "light": platform(
        {vol.Optional("state_topic"): topic, vol.Optional("state_value_template"): template}, WRITE,
        aspect("brightness"), aspect("color_temp"), aspect("effect"), aspect("rgb"), payload_on=str, payload_off=str,
        brightness_scale=whole(1), color_temp_kelvin=bool, min_kelvin=whole(1), max_kelvin=whole(1),
        min_mireds=whole(1), max_mireds=whole(1),
        effect_list=WORDS, on_command_type=one_of("last first brightness")),
    "lock": platform(READ_OR_GUESS, WRITE, FORM, payload_lock=str, payload_unlock=str, payload_open=str,
                     state_locked=str, state_unlocked=str),
    "number": vol.All(platform(
        READ_OR_GUESS, WRITE, FORM, min=NUMBER, max=NUMBER, step=vol.All(NUMBER, vol.Range(min=0.001)),
        mode=one_of("auto box slider"), unit_of_measurement=TEXT, device_class=vol.In(list(UNITS))), number_pairs),
    "select": platform(READ_OR_GUESS, WRITE, FORM, {vol.Required("options"): WORDS}),
    "sensor": vol.All(platform(
        READ, unit_of_measurement=TEXT, device_class=vol.In(list(UNITS) + WORDLESS + ["monetary"]),
        state_class=one_of("measurement total total_increasing"), options=WORDS, expire_after=whole(1)), sensor_pairs),
    "switch": platform(READ_OR_GUESS, WRITE, FORM, payload_on=str, payload_off=str, state_on=str, state_off=str,
                       device_class=one_of("outlet switch")),
    "text": platform(READ_OR_GUESS, WRITE, FORM, min=vol.All(int, vol.Range(0, 255)), max=vol.All(int, vol.Range(0, 255)),
                     mode=one_of("text password"), pattern=str),
}
REMOVAL = vol.Schema({vol.Required("platform"): vol.In(list(PLATFORMS))})
DISCOVERY = vol.Schema({
    vol.Required("device"): vol.Schema({
        vol.Required("identifiers"): WORDS,
        vol.Required("name"): TEXT,
        vol.Optional("model"): TEXT, vol.Optional("manufacturer"): TEXT, vol.Optional("serial_number"): TEXT,
        vol.Optional("sw_version"): TEXT, vol.Optional("hw_version"): TEXT, vol.Optional("via_device"): TEXT,
        vol.Optional("suggested_area"): TEXT, vol.Optional("configuration_url"): URL,
    }),
    vol.Required("origin"): vol.Schema({
        vol.Required("name"): TEXT, vol.Optional("sw_version"): TEXT, vol.Optional("support_url"): URL,
    }),
    vol.Required("components"): dict,
    vol.Optional("availability"): AVAILABILITY,
    vol.Optional("availability_mode"): vol.In(["all", "any", "latest"]),
    vol.Optional("qos"): vol.In([0, 1, 2]),
    vol.Optional("state_topic"): topic, vol.Optional("command_topic"): topic, vol.Optional("encoding"): str,
})
TOPIC = re.compile(r"^[^/]+/device/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config$")


def check(where, schema, value, problems):
    try:
        schema(value)
    except (vol.Invalid, jinja2.TemplateError, KeyError) as error:
        problems.append("%s: %s" % (where, error))


def problems_of(messages):
    problems, seen = [], set()
    for where, message in messages:
        if not TOPIC.match(where):
            problems.append("%s: is no discovery topic" % where)
        check(where, DISCOVERY, message, problems)
        for name, component in message.get("components", {}).items():
            place = "%s %s" % (where, name)
            if re.search(r"\s", name):
                problems.append("%s: has a space in its name" % place)
            schema = PLATFORMS.get(component.get("platform"))
            if schema is None:
                problems.append("%s: has no platform" % place)
            else:
                check(place, REMOVAL if len(component) == 1 else schema, component, problems)
            key = (component.get("platform"), component.get("unique_id"))
            if key[1] is not None and key in seen:
                problems.append("%s: has a unique id that is another's" % place)
            seen.add(key)
    return problems


def render(text, payload, variables):
    values = dict(variables or {})
    if payload is not None:
        values["value"] = payload
        try:
            values["value_json"] = json.loads(payload)
        except ValueError:
            pass
    return ENV.from_string(text).render(values)


def main():
    asked = json.load(sys.stdin)
    rendered = [render(*one) for one in asked.get("renders", [])]
    json.dump({"problems": problems_of(asked.get("messages", [])), "rendered": rendered}, sys.stdout)


main()
