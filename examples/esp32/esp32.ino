/*
 * A limb on an ESP32: a relay that can be switched, with the libraries PubSubClient (2.8) and ArduinoJson (7).
 *
 * Put the name of your network and bridge below, flash it, open the serial monitor at 115200 baud, and compare the
 * code with `limb-bridge pairing approve`.
 *
 * STATUS: not compiled for, and not run on, a device. It was compiled on Linux with the sources of PubSubClient 2.8 and
 * ArduinoJson 7.2 and stand-ins for the ESP32 core (WiFi over a socket, Preferences over a file); as such a program it
 * was paired, invoked, told a new key, and came back after a restart of the bridge.
 *
 * PubSubClient publishes with QoS 0 only; the bridge takes that. What is lost is sent again: a registration with the
 * next connection, a heartbeat with the next beat; a lost result is a timeout for the caller.
 */
#include <ArduinoJson.h>
#include <Preferences.h>
#include <PubSubClient.h>
#include <WiFi.h>

static const char *WIFI_NAME = "my-network";
static const char *WIFI_PASSWORD = "my-password";
static const char *BRIDGE_HOST = "192.168.1.10";
static const uint16_t BRIDGE_PORT = 1883;
static const char *NODE_ID = "relay1";
static const int RELAY_PIN = 26;

static const uint16_t BUFFER_BYTES = 4096;  // the longest packet; longer ones are dropped by PubSubClient
static const uint32_t RETRY_MS = 1000;
static const uint32_t RETRY_MAX_MS = 30000;
static const uint32_t REJECTED_MS = 300000;  // a rejected key is refused for a day: minutes, not seconds
static const int REMEMBERED = 8;

static const char *REGISTRATION =
    "{\"displayName\":\"Relay\",\"platform\":\"esp32\",\"firmware\":\"1.0.0\","
    "\"capabilities\":[{\"cap\":\"relay\",\"commands\":[\"relay.set\",\"relay.get\"],\"authLevel\":\"leased\"}]}";

static WiFiClient network;
static PubSubClient mqtt(network);
static Preferences flash;
static String key;
static bool approved = false;
static bool relayOn = false;
static bool rejected = false;
static uint32_t registerAt = 0;  // 0: it is not to register again
static uint8_t refusals = 0;
static uint32_t heartbeatMs = 15000;
static uint32_t lastBeat = 0;
static uint32_t nextTry = 0;
static uint32_t connectedAt = 0;
static uint8_t failures = 0;
static String seen[REMEMBERED];  // with QoS 1 an invocation may come twice
static int seenNext = 0;

static String topic(const char *leaf) { return String("limb/node/") + NODE_ID + "/" + leaf; }

// The key is made once, from the chip's random numbers, and kept in flash. WiFi must be on: without the radio
// esp_random() is predictable.
static void loadKey() {
  flash.begin("limb", false);
  key = flash.getString("key", "");
  if (key.length() >= 20) return;
  key = "";
  for (int i = 0; i < 8; i++) {
    char part[9];
    snprintf(part, sizeof part, "%08lx", (unsigned long)esp_random());
    key += part;
  }
  flash.putString("key", key);
}

static void beat() {
  JsonDocument message;
  message["metrics"]["rssi"] = WiFi.RSSI();
  message["metrics"]["freeHeap"] = ESP.getFreeHeap();
  String text;
  serializeJson(message, text);
  mqtt.publish(topic("heartbeat").c_str(), text.c_str());
  lastBeat = millis();
}

// One second, then two, four and so on to thirty; with jitter, so that a fleet does not come back in one instant.
static uint32_t jitter(uint32_t ms) { return ms / 2 + esp_random() % ms; }
static uint32_t waitMs(uint8_t times) {
  uint32_t wait = RETRY_MS << (times < 5 ? times : 5);
  return jitter(wait > RETRY_MAX_MS ? RETRY_MAX_MS : wait);
}

static void paired(JsonDocument &answer) {
  const char *status = answer["status"] | "";
  Serial.printf("pairing: %s %s%s\n", status, answer["code"] | "", answer["error"]["message"] | "");
  rejected = strcmp(status, "rejected") == 0;
  if (strcmp(status, "error") == 0) registerAt = millis() + waitMs(refusals++) + 1;
  else refusals = 0;
  const char *newKey = answer["apiKey"] | "";
  if (strlen(newKey) >= 20) {
    key = newKey;  // stored before it is used
    flash.putString("key", key);
  }
  if (strcmp(status, "approved") == 0) {
    heartbeatMs = (answer["heartbeatSeconds"] | 15) * 1000UL;
    mqtt.subscribe(topic("invoke").c_str(), 1);
    approved = true;
    beat();
  }
}

static bool isRepeated(const String &id) {
  for (int i = 0; i < REMEMBERED; i++) {
    if (seen[i] == id) return true;
  }
  seen[seenNext] = id;
  seenNext = (seenNext + 1) % REMEMBERED;
  return false;
}

static void invoked(JsonDocument &invocation) {
  String id = invocation["invocationId"] | "";
  if (id.length() == 0 || isRepeated(id)) return;
  const char *command = invocation["command"] | "";
  JsonDocument result;
  result["invocationId"] = id;
  bool known = strcmp(command, "relay.get") == 0;
  if (strcmp(command, "relay.set") == 0 && invocation["params"]["on"].is<bool>()) {
    relayOn = invocation["params"]["on"];
    digitalWrite(RELAY_PIN, relayOn ? HIGH : LOW);
    known = true;
  }
  result["success"] = known;
  if (known) result["data"]["on"] = relayOn;
  else result["error"] = "relay.set wants {\"on\": true or false}";
  String text;
  serializeJson(result, text);
  mqtt.publish(topic("result").c_str(), text.c_str());
}

// PubSubClient's buffer is used for publishing too: everything is copied out of `payload` before anything is sent.
static void received(char *name, uint8_t *payload, unsigned int length) {
  bool isPairing = topic("pairing") == name;
  JsonDocument message;
  if (deserializeJson(message, (const char *)payload, (size_t)length)) return;
  if (isPairing) paired(message);
  else invoked(message);
}

static void connectMqtt() {
  approved = false;
  registerAt = 0;
  if (mqtt.connect(NODE_ID, NODE_ID, key.c_str())) {
    connectedAt = millis();
    mqtt.subscribe(topic("pairing").c_str(), 1);
    mqtt.publish(topic("register").c_str(), REGISTRATION);
    return;
  }
  Serial.printf("no connection: state %d\n", mqtt.state());
  // Bad user name or password, not authorized: the key is refused.
  rejected = mqtt.state() == 4 || mqtt.state() == 5;
  if (rejected) nextTry = millis() + jitter(REJECTED_MS);
}

static void planRetry() {
  // A connection that lasted is no failure.
  if (connectedAt != 0 && millis() - connectedAt > 10000) failures = 0;
  connectedAt = 0;
  nextTry = millis() + (rejected ? jitter(REJECTED_MS) : waitMs(failures));
  if (failures < 10) failures++;
}

void setup() {
  Serial.begin(115200);
  pinMode(RELAY_PIN, OUTPUT);
  WiFi.mode(WIFI_STA);
  WiFi.setAutoReconnect(true);
  WiFi.begin(WIFI_NAME, WIFI_PASSWORD);
  loadKey();
  mqtt.setServer(BRIDGE_HOST, BRIDGE_PORT);
  mqtt.setBufferSize(BUFFER_BYTES);
  mqtt.setKeepAlive(30);
  mqtt.setCallback(received);
}

void loop() {
  if (mqtt.loop()) {
    if (approved && millis() - lastBeat >= heartbeatMs) beat();
    if (registerAt != 0 && (int32_t)(millis() - registerAt) >= 0) {
      registerAt = 0;
      mqtt.publish(topic("register").c_str(), REGISTRATION);
    }
  } else if (WiFi.status() == WL_CONNECTED && (int32_t)(millis() - nextTry) >= 0) {
    planRetry();
    connectMqtt();
  }
  delay(5);
}
