/* The Ethernet library as far as the example uses it: names and types alone. */
#ifndef ETHERNET_H
#define ETHERNET_H

#include <Arduino.h>
#include <Client.h>

class EthernetClient : public Client {
 public:
  EthernetClient();
  int connect(IPAddress ip, uint16_t port);
  int connect(const char* host, uint16_t port);
  size_t write(uint8_t);
  size_t write(const uint8_t* buffer, size_t size);
  int available();
  int read();
  int read(uint8_t* buffer, size_t size);
  int peek();
  void flush();
  void stop();
  uint8_t connected();
  operator bool();
};

class EthernetClass {
 public:
  int begin(uint8_t* mac);
};
extern EthernetClass Ethernet;

#endif
