#include "LimbBridge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A buffer that JSON is written into; what does not fit is noticed, never cut. */
namespace {

class Writer {
 public:
  Writer(char* into, size_t size) : into_(into), size_(size) { into_[0] = 0; }
  bool fits() const { return fits_; }
  void raw(const char* text) {
    size_t length = strlen(text);
    if (length_ + length + 1 > size_) {
      fits_ = false;
      return;
    }
    memcpy(into_ + length_, text, length + 1);
    length_ += length;
  }
  void quoted(const char* text) {
    raw("\"");
    for (; *text; text++) {
      unsigned char c = (unsigned char)*text;
      char out[8];
      if (c == '"' || c == '\\') snprintf(out, sizeof out, "\\%c", c);
      else if (c < 32) snprintf(out, sizeof out, "\\u%04x", c);
      else snprintf(out, sizeof out, "%c", c);
      raw(out);
    }
    raw("\"");
  }
  void key(const char* name) {
    quoted(name);
    raw(":");
  }

 private:
  char* into_;
  size_t size_;
  size_t length_ = 0;
  bool fits_ = true;
};

/* JSON has neither NaN nor infinity. Small boards print no %f, so the digits are made here. */
void numberText(char* into, size_t size, double value) {
  if (isnan(value) || isinf(value)) {
    snprintf(into, size, "null");
    return;
  }
  if (fabs(value) >= 1e9) {
    snprintf(into, size, "%s%lde9", value < 0 ? "-" : "", (long)(fabs(value) / 1e9));
    return;
  }
  long whole = (long)fabs(value);
  long parts = (long)((fabs(value) - (double)whole) * 1e4 + 0.5);
  if (parts >= 10000) {
    whole++;
    parts -= 10000;
  }
  const char* sign = value < 0 && (whole > 0 || parts > 0) ? "-" : "";
  if (parts == 0) snprintf(into, size, "%s%ld", sign, whole);
  else snprintf(into, size, "%s%ld.%04ld", sign, whole, parts);
}

/* Reads JSON that a bridge sent: it is well formed, and may be cut off at the end of the buffer. */
class Reader {
 public:
  Reader(const char* json, size_t length) : at_(json), end_(json + length) {}

  /* Finds the value of a key of the outermost object. */
  bool find(const char* name, const char** from, size_t* length) {
    skipSpace();
    if (!take('{')) return false;
    for (;;) {
      skipSpace();
      if (at_ >= end_ || *at_ != '"') return false;
      const char* key = at_ + 1;
      if (!skipText()) return false;
      size_t keyLength = (size_t)(at_ - key - 1);
      skipSpace();
      if (!take(':')) return false;
      skipSpace();
      const char* value = at_;
      if (!skipValue()) return false;
      if (keyLength == strlen(name) && memcmp(key, name, keyLength) == 0) {
        *from = value;
        *length = (size_t)(at_ - value);
        return true;
      }
      skipSpace();
      if (!take(',')) return false;
    }
  }

 private:
  const char* at_;
  const char* end_;

  bool take(char c) {
    if (at_ >= end_ || *at_ != c) return false;
    at_++;
    return true;
  }
  void skipSpace() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) at_++;
  }
  bool skipText() {
    for (at_++; at_ < end_; at_++) {
      if (*at_ == '\\') at_++;
      else if (*at_ == '"') {
        at_++;
        return true;
      }
    }
    return false;
  }
  bool skipValue() {
    if (at_ >= end_) return false;
    if (*at_ == '"') return skipText();
    if (*at_ != '{' && *at_ != '[') {
      while (at_ < end_ && !strchr(",}] \n\r\t", *at_)) at_++;
      return true;
    }
    int depth = 0;
    while (at_ < end_) {
      if (*at_ == '"') {
        if (!skipText()) return false;
        continue;
      }
      if (*at_ == '{' || *at_ == '[') depth++;
      if (*at_ == '}' || *at_ == ']') depth--;
      at_++;
      if (depth == 0) return true;
    }
    return false;
  }
};

bool found(const char* json, size_t jsonLength, const char* name, const char** from, size_t* length) {
  return Reader(json, jsonLength).find(name, from, length);
}

/* Appends a code point as UTF-8; false when there is no room for all of it. */
bool putUtf8(char* into, size_t size, size_t* used, uint32_t code) {
  char bytes[4];
  size_t count = 0;
  if (code < 0x80) bytes[count++] = (char)code;
  else if (code < 0x800) {
    bytes[count++] = (char)(0xc0 | (code >> 6));
    bytes[count++] = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    bytes[count++] = (char)(0xe0 | (code >> 12));
    bytes[count++] = (char)(0x80 | ((code >> 6) & 0x3f));
    bytes[count++] = (char)(0x80 | (code & 0x3f));
  } else {
    bytes[count++] = (char)(0xf0 | (code >> 18));
    bytes[count++] = (char)(0x80 | ((code >> 12) & 0x3f));
    bytes[count++] = (char)(0x80 | ((code >> 6) & 0x3f));
    bytes[count++] = (char)(0x80 | (code & 0x3f));
  }
  if (*used + count + 1 > size) return false;
  memcpy(into + *used, bytes, count);
  *used += count;
  return true;
}

uint32_t hexOf(const char* at) {
  char digits[5] = {at[0], at[1], at[2], at[3], 0};
  return (uint32_t)strtoul(digits, nullptr, 16);
}

bool textOf(const char* json, size_t jsonLength, const char* name, char* into, size_t size) {
  const char* at;
  size_t length;
  if (size == 0) return false;
  into[0] = 0;
  if (!found(json, jsonLength, name, &at, &length) || length < 2 || *at != '"') return false;
  const char* end = at + length - 1;
  size_t used = 0;
  for (at++; at < end; at++) {
    if (*at != '\\') {
      if (used + 2 > size) break;
      into[used++] = *at;
      continue;
    }
    at++;
    uint32_t code = (uint8_t)*at;
    if (*at == 'n') code = '\n';
    else if (*at == 't') code = '\t';
    else if (*at == 'r') code = '\r';
    else if (*at == 'b') code = '\b';
    else if (*at == 'f') code = '\f';
    else if (*at == 'u' && end - at > 4) {
      code = hexOf(at + 1);
      at += 4;
      if (code >= 0xd800 && code < 0xdc00 && end - at > 6 && at[1] == '\\' && at[2] == 'u') {
        code = 0x10000 + ((code - 0xd800) << 10) + (hexOf(at + 3) - 0xdc00);
        at += 6;
      }
    }
    if (!putUtf8(into, size, &used, code)) break;
  }
  into[used] = 0;
  return true;
}

double numberOf(const char* json, size_t jsonLength, const char* name, double otherwise) {
  const char* at;
  size_t length;
  char digits[32];
  if (!found(json, jsonLength, name, &at, &length) || length == 0 || length >= sizeof digits) return otherwise;
  if (!strchr("-0123456789", *at)) return otherwise;
  memcpy(digits, at, length);
  digits[length] = 0;
  return strtod(digits, nullptr);
}

const char* const LEVELS[] = {"free", "leased", "gated"};
const uint32_t LONGEST_WAIT_MS = 30000;

}  // namespace

bool LimbParams::has(const char* name) const {
  const char* at;
  size_t length;
  return found(json_, length_, name, &at, &length);
}

double LimbParams::number(const char* name, double otherwise) const {
  return numberOf(json_, length_, name, otherwise);
}

bool LimbParams::boolean(const char* name, bool otherwise) const {
  const char* at;
  size_t length;
  if (!found(json_, length_, name, &at, &length)) return otherwise;
  if (length == 4 && memcmp(at, "true", 4) == 0) return true;
  return length == 5 && memcmp(at, "false", 5) == 0 ? false : otherwise;
}

bool LimbParams::text(const char* name, char* into, size_t size) const {
  return textOf(json_, length_, name, into, size);
}

void LimbAnswer::number(const char* name, double value) {
  char digits[32];
  numberText(digits, sizeof digits, value);
  add(name, digits);
}

void LimbAnswer::boolean(const char* name, bool value) { add(name, value ? "true" : "false"); }

void LimbAnswer::add(const char* name, const char* value) {
  char entry[96];
  Writer writer(entry, sizeof entry);
  if (data_[0]) writer.raw(",");
  writer.key(name);
  writer.raw(value);
  if (writer.fits() && strlen(data_) + strlen(entry) < sizeof data_) strcat(data_, entry);
}

#ifndef LIMB_STD_FUNCTION
LimbBridge* LimbBridge::only_ = nullptr;
#endif

LimbBridge::LimbBridge(Client& net, const char* host, const char* nodeId, const char* key, uint16_t port)
    : mqtt_(net), host_(host), port_(port), nodeId_(nodeId), key_(key) {}

void LimbBridge::about(const char* displayName, const char* platform, const char* firmware) {
  displayName_ = displayName;
  platform_ = platform;
  firmware_ = firmware;
}

bool LimbBridge::command(const char* name, LimbHandler handler, LimbLevel level, const char* input) {
  if (commandCount_ == LIMB_MAX_COMMANDS) return false;
  commands_[commandCount_++] = {name, handler, level, input};
  return true;
}

bool LimbBridge::property(const char* name, const char* type, const char* unit) {
  if (propertyCount_ == LIMB_MAX_PROPERTIES) return false;
  properties_[propertyCount_++] = {name, type, unit};
  return true;
}

bool LimbBridge::metric(const char* name, double value) {
  for (uint8_t i = 0; i < metricCount_; i++) {
    if (strcmp(metrics_[i].name, name) != 0) continue;
    metrics_[i].value = value;
    return true;
  }
  if (metricCount_ == LIMB_MAX_METRICS) return false;
  metrics_[metricCount_++] = {name, value};
  return true;
}

void LimbBridge::topic(char* into, size_t size, const char* leaf) const {
  snprintf(into, size, "limb/node/%s/%s", nodeId_, leaf);
}

bool LimbBridge::publish(const char* name, double value) {
  char digits[32];
  numberText(digits, sizeof digits, value);
  return publish(name, digits);
}

bool LimbBridge::publish(const char* name, const char* text) {
  char leaf[80], where[160];
  snprintf(leaf, sizeof leaf, "data/%s", name);
  topic(where, sizeof where, leaf);
  return mqtt_.publish(where, text, true);
}

void LimbBridge::loop() {
  if (mqtt_.connected()) {
    mqtt_.loop();
    if (approved_ && millis() - lastHeartbeat_ >= heartbeatMs_) heartbeat();
    return;
  }
  approved_ = false;
  if (tried_ && millis() - triedAt_ < waitMs_) return;
  connect();
}

void LimbBridge::connect() {
  /* Boards that lost one bridge together must not come back together: 0.5 to 1.5 of 1, 2, 4 … 30 s. */
  uint32_t next = waitMs_ * 2 > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : waitMs_ * 2;
  if (!tried_) next = 1000;
  tried_ = true;
  triedAt_ = millis();
  mqtt_.setServer(host_, port_);
  mqtt_.setBufferSize(LIMB_BUFFER);
#ifdef LIMB_STD_FUNCTION
  mqtt_.setCallback([this](char* t, uint8_t* p, unsigned int n) { heard(t, p, n); });
#else
  only_ = this;
  mqtt_.setCallback([](char* t, uint8_t* p, unsigned int n) { only_->heard(t, p, n); });
#endif
  if (!mqtt_.connect(nodeId_, nodeId_, key_)) {
    snprintf(problem_, sizeof problem_, "no connection (%d): see `limb-bridge why %s`", mqtt_.state(), nodeId_);
    waitMs_ = next / 2 + (uint32_t)random((long)next);
    return;
  }
  problem_[0] = 0;
  waitMs_ = 500 + (uint32_t)random(1000);
  char where[160];
  topic(where, sizeof where, "pairing");
  mqtt_.subscribe(where, 1);
  topic(where, sizeof where, "invoke");
  mqtt_.subscribe(where, 1);
  registerLimb();
}

void LimbBridge::registerLimb() {
  char where[160], json[LIMB_BUFFER];
  Writer out(json, sizeof json);
  out.raw("{\"brief\":true,");
  out.key("displayName");
  out.quoted(displayName_ ? displayName_ : nodeId_);
  out.raw(",");
  out.key("platform");
  out.quoted(platform_);
  if (firmware_) {
    out.raw(",");
    out.key("firmware");
    out.quoted(firmware_);
  }
  out.raw(",\"capabilities\":[");
  bool first = true;
  for (uint8_t level = LIMB_FREE; level <= LIMB_GATED; level++) {
    bool any = false;
    for (uint8_t i = 0; i < commandCount_; i++) {
      if (commands_[i].level != level) continue;
      if (!any) {
        out.raw(first ? "{" : ",{");
        out.key("cap");
        out.quoted(level == LIMB_FREE ? "device" : level == LIMB_LEASED ? "device.leased" : "device.gated");
        out.raw(",\"authLevel\":");
        out.quoted(LEVELS[level]);
        out.raw(",\"commands\":[");
      } else {
        out.raw(",");
      }
      any = true;
      if (!commands_[i].input) {
        out.quoted(commands_[i].name);
        continue;
      }
      out.raw("{");
      out.key("name");
      out.quoted(commands_[i].name);
      out.raw(",\"input\":");
      out.raw(commands_[i].input);
      out.raw("}");
    }
    if (any) {
      out.raw("]}");
      first = false;
    }
  }
  out.raw("],\"properties\":[");
  for (uint8_t i = 0; i < propertyCount_; i++) {
    char data[80];
    snprintf(data, sizeof data, "data/%s", properties_[i].name);
    if (i > 0) out.raw(",");
    out.raw("{");
    out.key("name");
    out.quoted(properties_[i].name);
    out.raw(",\"topic\":");
    out.quoted(data);
    out.raw(",\"type\":");
    out.quoted(properties_[i].type);
    if (properties_[i].unit) {
      out.raw(",\"unit\":");
      out.quoted(properties_[i].unit);
    }
    out.raw("}");
  }
  out.raw("]}");
  topic(where, sizeof where, "register");
  if (!out.fits() || !mqtt_.publish(where, json))
    snprintf(problem_, sizeof problem_, "the registration does not fit: #define LIMB_BUFFER above %d", LIMB_BUFFER);
}

void LimbBridge::heartbeat() {
  char where[160], json[LIMB_BUFFER / 2];
  Writer out(json, sizeof json);
  out.raw("{");
  if (metricCount_ > 0) out.raw("\"metrics\":{");
  for (uint8_t i = 0; i < metricCount_; i++) {
    char digits[32];
    if (i > 0) out.raw(",");
    numberText(digits, sizeof digits, metrics_[i].value);
    out.key(metrics_[i].name);
    out.raw(digits);
  }
  out.raw(metricCount_ > 0 ? "}}" : "}");
  topic(where, sizeof where, "heartbeat");
  /* An empty heartbeat keeps the board online where its metrics do not fit. */
  mqtt_.publish(where, out.fits() ? json : "{}");
  lastHeartbeat_ = millis();
}

void LimbBridge::heard(char* where, uint8_t* payload, unsigned int length) {
  const char* leaf = strrchr(where, '/');
  if (!leaf) return;
  if (strcmp(leaf, "/pairing") == 0) answered((const char*)payload, length);
  else if (strcmp(leaf, "/invoke") == 0) invoked((const char*)payload, length);
}

void LimbBridge::answered(const char* json, size_t length) {
  char status[16];
  if (!textOf(json, length, "status", status, sizeof status)) return;
  if (strcmp(status, "approved") == 0) {
    heartbeatMs_ = (uint32_t)(numberOf(json, length, "heartbeatSeconds", 15) * 1000);
    code_[0] = 0;
    problem_[0] = 0;
    approved_ = true;
    heartbeat();
  } else if (strcmp(status, "pending") == 0) {
    textOf(json, length, "code", code_, sizeof code_);
  } else if (strcmp(status, "rejected") == 0) {
    snprintf(problem_, sizeof problem_, "an operator rejected this key");
  } else {
    const char* at;
    size_t size;
    if (found(json, length, "error", &at, &size)) textOf(at, size, "message", problem_, sizeof problem_);
  }
}

void LimbBridge::invoked(const char* json, size_t length) {
  char id[80], name[96], where[160], result[512], copy[LIMB_BUFFER / 2];
  if (!textOf(json, length, "invocationId", id, sizeof id)) return;
  textOf(json, length, "command", name, sizeof name);
  const char* params = "{}";
  size_t paramsLength = 2;
  found(json, length, "params", &params, &paramsLength);
  LimbAnswer answer;
  /* What comes and what goes share one buffer: a handler that publishes would write over its parameters. */
  bool fits = paramsLength <= sizeof copy;
  if (fits) memcpy(copy, params, paramsLength);
  const Command* known = nullptr;
  for (uint8_t i = 0; i < commandCount_; i++)
    if (strcmp(commands_[i].name, name) == 0) known = &commands_[i];
  if (!known) answer.fail("the board has no such command");
  else if (!fits) answer.fail("the parameters are longer than the board can hold");
  else known->handler(LimbParams(copy, paramsLength), answer);
  Writer out(result, sizeof result);
  out.raw("{");
  out.key("invocationId");
  out.quoted(id);
  out.raw(answer.error_ ? ",\"success\":false,\"error\":" : ",\"success\":true,\"data\":{");
  if (answer.error_) out.quoted(answer.error_);
  else out.raw(answer.data_);
  out.raw(answer.error_ ? "}" : "}}");
  topic(where, sizeof where, "result");
  mqtt_.publish(where, result);
}
