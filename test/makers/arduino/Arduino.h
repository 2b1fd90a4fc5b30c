// What LimbBridge needs of Arduino's core, for a host.
#pragma once
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

inline uint32_t millis() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}
inline long randomOf(long bound) { return bound > 0 ? rand() % bound : 0; }
#define random(bound) randomOf(bound)
