// A relay on an Arduino Mega with an Ethernet shield. An Uno has too little memory.
#include <Ethernet.h>
#include <LimbBridge.h>

const int RELAY = 7;

byte mac[] = {0xDE, 0xAD, 0xBE, 0xEF, 0x00, 0x01};
EthernetClient net;
// Host of the bridge, name of this board, and a key that only this board has: 20 characters or more, at random.
LimbBridge limb(net, "192.168.1.10", "relay1", "change-me-to-32-random-letters");

void setRelay(const LimbParams& params, LimbAnswer& answer) {
  if (!params.has("on")) {
    answer.fail("on must be true or false");
    return;
  }
  digitalWrite(RELAY, params.boolean("on") ? HIGH : LOW);
  answer.boolean("on", params.boolean("on"));
}

void setup() {
  Serial.begin(115200);
  pinMode(RELAY, OUTPUT);
  Ethernet.begin(mac);
  limb.about("Relay", "mega", "1.0.0");
  limb.command("relay.set", setRelay, LIMB_FREE,
               "{\"type\":\"object\",\"properties\":{\"on\":{\"type\":\"boolean\"}},\"required\":[\"on\"]}");
}

void loop() {
  static uint32_t told = 0;
  limb.loop();
  // Until an operator has approved the board, it tells its code.
  if (*limb.code() && millis() - told > 5000) {
    Serial.println(limb.code());
    told = millis();
  }
}
