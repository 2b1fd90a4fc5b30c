/*
 * LimbBridge makes a board a limb: it connects, registers, sends heartbeats, answers invocations, and connects again.
 *
 *   LimbBridge limb(net, "192.168.1.10", "lamp1", "a-key-that-only-this-lamp-has");
 *   void setup() { limb.command("lamp.set", setLamp); }
 *   void loop() { limb.loop(); }
 *
 * Give each board a key of its own, 20 to 256 characters, made at random. An operator compares the code that code() tells,
 * and approves the board once.
 */
#ifndef LIMB_BRIDGE_H
#define LIMB_BRIDGE_H

#include <Arduino.h>
#include <Client.h>
#include <PubSubClient.h>

#ifndef LIMB_MAX_COMMANDS
#define LIMB_MAX_COMMANDS 8
#endif
#ifndef LIMB_MAX_PROPERTIES
#define LIMB_MAX_PROPERTIES 8
#endif
#ifndef LIMB_MAX_METRICS
#define LIMB_MAX_METRICS 8
#endif
/* Bytes of one message, in and out. */
#ifndef LIMB_BUFFER
#define LIMB_BUFFER 1024
#endif

/* PubSubClient takes a std::function on these; elsewhere a board can be one limb only. */
#if defined(ESP8266) || defined(ESP32)
#define LIMB_STD_FUNCTION
#endif

/* How freely principals may use a command. */
enum LimbLevel { LIMB_FREE, LIMB_LEASED, LIMB_GATED };

/* The parameters of an invocation: one JSON object, read by the names of its keys. */
class LimbParams {
 public:
  LimbParams(const char* json, size_t length) : json_(json), length_(length) {}
  bool has(const char* name) const;
  double number(const char* name, double otherwise = 0) const;
  bool boolean(const char* name, bool otherwise = false) const;
  /* Copies a text, cut to size - 1 bytes; false when it is not there or no text. */
  bool text(const char* name, char* into, size_t size) const;

 private:
  const char* json_;
  size_t length_;
};

/* What a handler answers: success, unless it says why not. */
class LimbAnswer {
 public:
  void fail(const char* why) { error_ = why; }
  /* Adds a value to the result. */
  void number(const char* name, double value);
  void boolean(const char* name, bool value);

 private:
  friend class LimbBridge;
  const char* error_ = nullptr;
  char data_[256] = "";
  void add(const char* name, const char* value);
};

typedef void (*LimbHandler)(const LimbParams& params, LimbAnswer& answer);

class LimbBridge {
 public:
  /* `net` is a WiFiClient, a WiFiClientSecure with the bridge's ca.pem, an EthernetClient … All texts must stay. */
  LimbBridge(Client& net, const char* host, const char* nodeId, const char* key, uint16_t port = 1883);

  /* These are for setup(). They return false when there is no more room: see LIMB_MAX_COMMANDS and its like. */
  void about(const char* displayName, const char* platform = "arduino", const char* firmware = nullptr);
  /* `input` is the schema of the parameters, as JSON; the bridge checks them before it asks the board. */
  bool command(const char* name, LimbHandler handler, LimbLevel level = LIMB_FREE, const char* input = nullptr);
  /* A value that publish() sends, such as property("temperature", "number", "Cel"). */
  bool property(const char* name, const char* type, const char* unit = nullptr);

  /* Goes into loop(), which must come back often: a delay of seconds takes the board offline. */
  void loop();

  /* Is sent with the heartbeats. */
  bool metric(const char* name, double value);
  /* Publishes a value now, retained, on data/<name>. */
  bool publish(const char* name, double value);
  bool publish(const char* name, const char* text);

  /* Paired, connected, and past the first heartbeat. */
  bool online() { return approved_ && mqtt_.connected(); }
  /* The code that the operator compares while the board is not paired; "" before and after. */
  const char* code() const { return code_; }
  /* What the bridge said last that was wrong; "" when nothing was. */
  const char* problem() const { return problem_; }

 private:
  struct Command {
    const char* name;
    LimbHandler handler;
    LimbLevel level;
    const char* input;
  };
  struct Property {
    const char* name;
    const char* type;
    const char* unit;
  };
  struct Metric {
    const char* name;
    double value;
  };

#ifndef LIMB_STD_FUNCTION
  static LimbBridge* only_;
#endif
  PubSubClient mqtt_;
  const char* host_;
  uint16_t port_;
  const char* nodeId_;
  const char* key_;
  const char* displayName_ = nullptr;
  const char* platform_ = "arduino";
  const char* firmware_ = nullptr;
  Command commands_[LIMB_MAX_COMMANDS];
  uint8_t commandCount_ = 0;
  Property properties_[LIMB_MAX_PROPERTIES];
  uint8_t propertyCount_ = 0;
  Metric metrics_[LIMB_MAX_METRICS];
  uint8_t metricCount_ = 0;
  bool approved_ = false;
  char code_[12] = "";
  char problem_[96] = "";
  uint32_t heartbeatMs_ = 15000;
  uint32_t lastHeartbeat_ = 0;
  uint32_t waitMs_ = 1000;
  uint32_t triedAt_ = 0;
  bool tried_ = false;

  void connect();
  void registerLimb();
  void heartbeat();
  void heard(char* topic, uint8_t* payload, unsigned int length);
  void answered(const char* json, size_t length);
  void invoked(const char* json, size_t length);
  void topic(char* into, size_t size, const char* leaf) const;
};

#endif
