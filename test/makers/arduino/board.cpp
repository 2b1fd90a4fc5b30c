// A board as a program: `board PORT NODE_ID KEY`. Its serial line is standard output.
#include <LimbBridge.h>
#include <stdio.h>
#include <unistd.h>

Client net;
LimbBridge* limb;

void setLamp(const LimbParams& params, LimbAnswer& answer) {
  char color[16], name[64];
  limb->publish("on", params.boolean("on") ? "true" : "false");
  if (params.text("color", color, sizeof color) && strcmp(color, "mauve") == 0) return answer.fail("no \"mauve\" here");
  params.text("name", name, sizeof name);
  printf("lamp %d %.2f %s %s\n", params.boolean("on"), params.number("level", -1), color, name);
  answer.number("level", params.number("level", -1));
  answer.boolean("on", params.boolean("on"));
}

int main(int, char** argv) {
  LimbBridge board(net, "127.0.0.1", argv[2], argv[3], (uint16_t)atoi(argv[1]));
  limb = &board;
  board.about("Lamp \"A\" é", "host", "1.0.0");
  board.command("lamp.set", setLamp, LIMB_FREE,
                "{\"type\":\"object\",\"properties\":{\"on\":{\"type\":\"boolean\"}},\"required\":[\"on\"]}");
  board.command("lamp.burn", setLamp, LIMB_GATED);
  board.property("on", "boolean");
  board.metric("level_percent", 12.5);
  board.metric("none", 0.0 / 0.0);
  char told[100] = "";
  bool online = false;
  for (;;) {
    board.loop();
    if (!board.online()) usleep(5000);
    const char* now = *board.code() ? board.code() : board.problem();
    if (*now && strcmp(now, told) != 0) {
      strcpy(told, now);
      printf("%s %s\n", *board.code() ? "code" : "problem", now);
    }
    if (board.online() != online) {
      online = board.online();
      printf(online ? "online\n" : "away\n");
    }
    fflush(stdout);
  }
}
