/* The least that a process can do with a heartbeat: it answers CONNECT and each PUBLISH of QoS 1, and looks at nothing. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 4096, FILES = 65536 };
struct peer { int have; unsigned char bytes[ROOM]; };
static struct peer *peers[FILES];

/* Answers the whole packets that are there and keeps the rest. Returns 0 when the peer breaks the rules. */
static int answer(int fd, struct peer *peer) {
  unsigned char out[ROOM];
  int at = 0, put = 0;
  for (;;) {
    int length = 0, shift = 0, head = at + 1, known = 0;
    while (head < peer->have && shift <= 21) {
      unsigned char byte = peer->bytes[head++];
      length |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte < 0x80) { known = 1; break; }
    }
    if (!known) { if (shift > 21) return 0; break; }
    if (length > ROOM - 8) return 0;
    if (head + length > peer->have) break;
    int type = peer->bytes[at] >> 4;
    if (type == 1) { memcpy(out + put, "\x20\x02\0\0", 4); put += 4; }
    if (type == 3 && length >= 4) {
      int topic = peer->bytes[head] << 8 | peer->bytes[head + 1];
      if (topic + 4 > length) return 0;
      out[put++] = 0x40; out[put++] = 2;
      out[put++] = peer->bytes[head + 2 + topic]; out[put++] = peer->bytes[head + 3 + topic];
    }
    at = head + length;
  }
  memmove(peer->bytes, peer->bytes + at, peer->have - at);
  peer->have -= at;
  return put == 0 || write(fd, out, put) == put;
}

int main(void) {
  int server = socket(AF_INET, SOCK_STREAM, 0), one = 1, poll = epoll_create1(0);
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  if (bind(server, (struct sockaddr *)&address, size) || listen(server, 511)) return 1;
  getsockname(server, (struct sockaddr *)&address, &size);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  struct epoll_event event = { .events = EPOLLIN, .data.fd = server }, events[64];
  epoll_ctl(poll, EPOLL_CTL_ADD, server, &event);
  for (;;) {
    int count = epoll_wait(poll, events, 64, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == server) {
        fd = accept(server, NULL, NULL);
        if (fd < 0) continue;
        if (fd >= FILES) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        peers[fd] = calloc(1, sizeof(struct peer));
        event.data.fd = fd;
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        continue;
      }
      struct peer *peer = peers[fd];
      int got = read(fd, peer->bytes + peer->have, ROOM - peer->have);
      if (got > 0) peer->have += got;
      if (got <= 0 || !answer(fd, peer)) { close(fd); free(peer); peers[fd] = NULL; }
    }
  }
}
