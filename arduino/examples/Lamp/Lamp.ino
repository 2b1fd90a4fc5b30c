// A lamp on an ESP32 or ESP8266: ten lines make it a limb.
#ifdef ESP8266
#include <ESP8266WiFi.h>
#else
#include <WiFi.h>
#endif
#include <LimbBridge.h>

const int LED = 2;

WiFiClient net;
// Host of the bridge, name of this board, and a key that only this board has: 20 characters or more, at random.
LimbBridge limb(net, "192.168.1.10", "lamp1", "change-me-to-32-random-letters");

void setLamp(const LimbParams& params, LimbAnswer& answer) {
  digitalWrite(LED, params.boolean("on") ? HIGH : LOW);
  limb.publish("on", params.boolean("on") ? "true" : "false");
}

void setup() {
  Serial.begin(115200);
  pinMode(LED, OUTPUT);
  WiFi.begin("network", "password");
  limb.about("Lamp", "esp32", "1.0.0");
  limb.command("lamp.set", setLamp, LIMB_FREE,
               "{\"type\":\"object\",\"properties\":{\"on\":{\"type\":\"boolean\"}},\"required\":[\"on\"]}");
  limb.property("on", "boolean");
}

void loop() {
  static uint32_t told = 0;
  if (WiFi.status() == WL_CONNECTED) limb.loop();
  limb.metric("wifi_signal_dbm", WiFi.RSSI());
  // Until an operator has approved the board, it tells its code.
  if (*limb.code() && millis() - told > 5000) {
    Serial.println(limb.code());
    told = millis();
  }
}
