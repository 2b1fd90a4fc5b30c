// A thermometer that publishes a value every minute, and says what is wrong on the serial line.
#ifdef ESP8266
#include <ESP8266WiFi.h>
#else
#include <WiFi.h>
#endif
#include <LimbBridge.h>

WiFiClient net;
LimbBridge limb(net, "192.168.1.10", "thermo1", "change-me-to-32-random-letters");

void setup() {
  Serial.begin(115200);
  WiFi.begin("network", "password");
  limb.about("Thermometer", "esp32");
  limb.property("temperature", "number", "Cel");
}

void loop() {
  static uint32_t told = 0;
  if (WiFi.status() == WL_CONNECTED) limb.loop();
  if (millis() - told < 60000) return;
  told = millis();
  if (limb.online()) limb.publish("temperature", analogRead(34) * 0.1);
  else Serial.println(*limb.code() ? limb.code() : limb.problem());
}
