// PubSubClient's interface over libmosquitto: LimbBridge meets a real broker, in the ways of the real library
// (one buffer for what comes and what goes; a message that does not fit is dropped without a word).
#pragma once
#include <Arduino.h>
#include <Client.h>
#include <mosquitto.h>
#include <functional>
#include <string>
#include <vector>

class PubSubClient {
 public:
  explicit PubSubClient(Client&) {
    mosquitto_lib_init();
  }
  void setServer(const char* host, uint16_t port) {
    host_ = host;
    port_ = port;
  }
  bool setBufferSize(uint16_t size) {
    buffer_.resize(size);
    return true;
  }
#if defined(ESP8266) || defined(ESP32)
  void setCallback(std::function<void(char*, uint8_t*, unsigned int)> callback) { callback_ = callback; }
#else
  void setCallback(void (*callback)(char*, uint8_t*, unsigned int)) { callback_ = callback; }
#endif
  bool connect(const char* id, const char* user, const char* password) {
    if (mosq_) mosquitto_destroy(mosq_);
    mosq_ = mosquitto_new(id, true, this);
    mosquitto_username_pw_set(mosq_, user, password);
    mosquitto_connect_callback_set(mosq_, [](mosquitto*, void* self, int code) {
      ((PubSubClient*)self)->state_ = code;
      ((PubSubClient*)self)->connected_ = code == 0;
    });
    mosquitto_disconnect_callback_set(mosq_, [](mosquitto*, void* self, int) {
      ((PubSubClient*)self)->connected_ = false;
    });
    mosquitto_message_callback_set(mosq_, [](mosquitto*, void* self, const mosquitto_message* message) {
      ((PubSubClient*)self)->heard(message);
    });
    state_ = -2;
    if (mosquitto_connect(mosq_, host_.c_str(), port_, 15) != MOSQ_ERR_SUCCESS) return false;
    for (int i = 0; i < 500 && state_ == -2; i++)
      if (mosquitto_loop(mosq_, 10, 1) != MOSQ_ERR_SUCCESS) break;
    return connected_;
  }
  bool connected() { return connected_; }
  int state() { return state_; }
  bool loop() {
    if (mosquitto_loop(mosq_, 10, 1) != MOSQ_ERR_SUCCESS) connected_ = false;
    std::vector<std::pair<std::string, std::string>> waiting;
    waiting.swap(waiting_);
    for (auto& message : waiting) {
      memcpy(buffer_.data(), message.second.data(), message.second.size());
      std::string topic = message.first;
      callback_(&topic[0], buffer_.data(), (unsigned int)message.second.size());
    }
    return connected_;
  }
  bool subscribe(const char* topic, uint8_t qos) { return mosquitto_subscribe(mosq_, nullptr, topic, qos) == 0; }
  bool publish(const char* topic, const char* payload, bool retain = false) {
    size_t length = strlen(payload);
    if (length + strlen(topic) + 7 > buffer_.size()) return false;
    // The real one puts the packet where the last message stands.
    memset(buffer_.data(), '!', buffer_.size());
    return mosquitto_publish(mosq_, nullptr, topic, (int)length, payload, 0, retain) == 0;
  }

 private:
  void heard(const mosquitto_message* message) {
    if ((size_t)message->payloadlen + strlen(message->topic) + 7 > buffer_.size()) return;
    waiting_.push_back({message->topic, std::string((const char*)message->payload, message->payloadlen)});
  }
  std::string host_;
  uint16_t port_ = 0;
  mosquitto* mosq_ = nullptr;
  int state_ = -1;
  bool connected_ = false;
  std::vector<uint8_t> buffer_;
  std::vector<std::pair<std::string, std::string>> waiting_;
#if defined(ESP8266) || defined(ESP32)
  std::function<void(char*, uint8_t*, unsigned int)> callback_;
#else
  void (*callback_)(char*, uint8_t*, unsigned int) = nullptr;
#endif
};
