/*
 * A spawn server for measurements: it speaks the spawn server's side of the protocol on descriptor
 * 3 and forks one small process per instance, which accepts a session and closes it at once. So an
 * instance costs next to nothing, and what is measured is the server.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHANNEL 3

/* Reads exactly `length` bytes; the end of the channel is the end of this process. */
static void read_exactly(void *into, size_t length) {
  for (size_t have = 0; have < length;) {
    ssize_t got = read(CHANNEL, (char *)into + have, length - have);
    if (got <= 0) exit(0);
    have += (size_t)got;
  }
}

static void write_array(const char *const *elements, int count) {
  unsigned char frame[1024];
  size_t size = 2;
  for (int i = 0; i < count; i++) {
    size_t length = strlen(elements[i]) + 1;
    memcpy(frame + size, elements[i], length);
    size += length;
  }
  frame[0] = (unsigned char)((size - 2) >> 8);
  frame[1] = (unsigned char)(size - 2);
  if (write(CHANNEL, frame, size) != (ssize_t)size) exit(1);
}

static void send_descriptor(int descriptor) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  char zero = 0;
  struct iovec data = {&zero, 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  if (sendmsg(CHANNEL, &message, MSG_NOSIGNAL) != 1) exit(1);
}

/* An instance: until its owner pipe closes. */
static void serve(int listener, int owner) {
  struct pollfd watched[2] = {{listener, POLLIN, 0}, {owner, POLLIN, 0}};
  for (;;) {
    if (poll(watched, 2, -1) < 0) continue;
    if (watched[1].revents) _exit(0);
    for (int session; (session = accept(listener, NULL, NULL)) >= 0;) close(session);
  }
}

/* A listener on the abstract namespace: nothing is left behind in the file system. */
static int listen_on(char *name, size_t size, unsigned number) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(name, size, "pool-bench.%d.%u", (int)getpid(), number);
  memcpy(address.sun_path + 1, name, strlen(name));
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
    perror("stub: listen");
    exit(1);
  }
  return listener;
}

static void spawn_instance(unsigned number) {
  char name[64], pid_text[16];
  int owner[2], listener = listen_on(name, sizeof name, number);
  if (pipe(owner)) exit(1);
  pid_t pid = fork();
  if (pid == 0) {
    close(CHANNEL);
    close(owner[1]);
    serve(listener, owner[0]);
  }
  snprintf(pid_text, sizeof pid_text, "%d", (int)pid);
  close(listener);
  close(owner[0]);
  write_array((const char *[]){"ok"}, 1);
  write_array((const char *[]){pid_text, name, "true"}, 3);
  send_descriptor(owner[1]);
  close(owner[1]);
}

int main(void) {
  static char body[65536];
  signal(SIGCHLD, SIG_IGN); /* no zombies */
  for (unsigned number = 0;;) {
    unsigned char size[2];
    read_exactly(size, sizeof size);
    read_exactly(body, (size_t)(size[0] << 8 | size[1]));
    if (strcmp(body, "spawn_application") == 0) spawn_instance(number++);
  }
}
