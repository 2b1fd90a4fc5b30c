/* PubSubClient 2.8 as far as the library uses it: names and types alone, for a compiler that makes code for an AVR. */
#ifndef PUBSUBCLIENT_H
#define PUBSUBCLIENT_H

#include <Arduino.h>
#include <Client.h>

#define MQTT_CALLBACK_SIGNATURE void (*callback)(char*, uint8_t*, unsigned int)

class PubSubClient {
 public:
  PubSubClient(Client& client);
  PubSubClient& setServer(const char* domain, uint16_t port);
  PubSubClient& setCallback(MQTT_CALLBACK_SIGNATURE);
  PubSubClient& setKeepAlive(uint16_t keepAlive);
  PubSubClient& setSocketTimeout(uint16_t timeout);
  bool setBufferSize(uint16_t size);
  bool connect(const char* id, const char* user, const char* pass);
  bool publish(const char* topic, const char* payload);
  bool publish(const char* topic, const char* payload, bool retained);
  bool publish(const char* topic, const uint8_t* payload, unsigned int length, bool retained);
  bool beginPublish(const char* topic, unsigned int length, bool retained);
  int endPublish();
  size_t write(const uint8_t* buffer, size_t size);
  bool subscribe(const char* topic, uint8_t qos);
  bool loop();
  bool connected();
  int state();
};

#endif
