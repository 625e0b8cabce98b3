/*
 * One measurement of a pool server, made as a parent and its clients: blocking threads that do as
 * little as possible between two messages, so that the server is what is measured.
 *
 *     load SERVER STUB startup COUNT          exec to first connection, last connection to exit
 *     load SERVER STUB connect COUNT          one byte to one connection, in sequence
 *     load SERVER STUB get CLIENTS SECONDS    get, receive the session, close it; all at once
 *     load SERVER STUB count CLIENTS SECONDS  getCount and its answer; all at once
 *     load SERVER STUB idle CLIENTS SECONDS   memory with idle clients, and what idling costs
 *
 * SERVER is started afresh with STUB as its spawn server. Prints one flat JSON object; whatever
 * goes wrong is one line on stderr and exit status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_SECONDS 30 /* no answer for this long is a failure */
#define WARM_UP_SECONDS 1.0 /* long enough for a just-in-time compiler to settle */
#define MAX_FRAME 65536

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected answer");
  _exit(1);
}

/* ---- time ---- */

static double seconds_on(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time)) fail("clock_gettime");
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double now(void) { return seconds_on(CLOCK_MONOTONIC); }

static void sleep_seconds(double seconds) {
  struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  while (nanosleep(&time, &time) && errno == EINTR) continue;
}

/* CPU time of another process, all its threads, living and gone: clock_getcpuclockid(3). */
static double cpu_seconds(pid_t pid) {
  clockid_t clock;
  if (clock_getcpuclockid(pid, &clock)) fail("clock_getcpuclockid");
  return seconds_on(clock);
}

/* ---- messages ---- */

static void write_all(int fd, const void *data, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t wrote = send(fd, (const char *)data + done, length - done, MSG_NOSIGNAL);
    if (wrote < 0 && errno != EINTR) fail("send");
    if (wrote > 0) done += (size_t)wrote;
  }
}

static void read_all(int fd, void *data, size_t length) {
  for (size_t done = 0; done < length;) {
    errno = 0;
    ssize_t got = recv(fd, (char *)data + done, length - done, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) fail("recv");
    if (got > 0) done += (size_t)got;
  }
}

static size_t encode(char *frame, const char *const *elements, int count) {
  size_t size = 2;
  for (int i = 0; i < count; i++) {
    size_t length = strlen(elements[i]) + 1;
    memcpy(frame + size, elements[i], length);
    size += length;
  }
  frame[0] = (char)((size - 2) >> 8);
  frame[1] = (char)(size - 2);
  return size;
}

/* Reads one array message; its elements stand one after the other in `body`. Returns its length. */
static size_t read_array(int fd, char *body) {
  unsigned char size[2];
  read_all(fd, size, sizeof size);
  size_t length = (size_t)(size[0] << 8 | size[1]);
  read_all(fd, body, length);
  return length;
}

static int receive_descriptor(int fd) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  char byte;
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  ssize_t got;
  do errno = 0, got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  struct cmsghdr *header = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
  if (!header || header->cmsg_type != SCM_RIGHTS) fail("receive a descriptor");
  int descriptor;
  memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  return descriptor;
}

/* ---- the server ---- */

struct server {
  pid_t pid;
  int channel;
  double started;
};

static const char *server_path, *stub_path;

static void limit_patience(int fd) {
  struct timeval patience = {PATIENCE_SECONDS, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

static struct server start_server(void) {
  int pair[2];
  struct server server;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) fail("socketpair");
  limit_patience(pair[0]);
  server.channel = pair[0];
  server.started = now();
  server.pid = fork();
  if (server.pid < 0) fail("fork");
  if (server.pid == 0) {
    /* Were it 3 already, dup2 would leave close-on-exec set. */
    if (pair[1] == 3) fcntl(3, F_SETFD, 0);
    else dup2(pair[1], 3);
    execl(server_path, server_path, "0", "bench-spawn-server", "", stub_path, "", "", (char *)NULL);
    fail(server_path);
  }
  close(pair[1]);
  return server;
}

static int connect_client(const struct server *server) {
  write_all(server->channel, "x", 1);
  int fd = receive_descriptor(server->channel);
  limit_patience(fd);
  return fd;
}

/* Ends the server as a parent does, and insists on a clean exit. Returns the seconds it took. */
static double stop_server(const struct server *server) {
  double begun = now();
  int status = 0;
  close(server->channel);
  for (pid_t gone = 0; gone == 0; sleep_seconds(0.0002)) {
    gone = waitpid(server->pid, &status, WNOHANG);
    if (gone == 0 && now() - begun > PATIENCE_SECONDS) {
      kill(server->pid, SIGKILL);
      errno = ETIMEDOUT;
      fail("end of the server");
    }
  }
  /* The floor and its kind exit without ceremony; a signal or a failure is worth a word. */
  if (status != 0) fprintf(stderr, "load: the server ended with wait status %d\n", status);
  return now() - begun;
}

/* The number behind `key` in /proc/PID/FILE, or 0 if there is none. */
static long proc_number(pid_t pid, const char *file, const char *key) {
  char path[64], line[256];
  long number = 0;
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
  FILE *stream = fopen(path, "r");
  if (!stream) return 0;
  while (fgets(line, sizeof line, stream)) {
    if (strncmp(line, key, strlen(key)) == 0) number = atol(line + strlen(key));
  }
  fclose(stream);
  return number;
}

/* ---- samples ---- */

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(double *sorted, size_t count, double q) {
  return count == 0 ? 0 : sorted[(size_t)((double)(count - 1) * q)];
}

static void print_latencies(double *samples, size_t count, double seconds, double cpu) {
  if (count == 0) fail("not one answer");
  qsort(samples, count, sizeof *samples, compare);
  printf("{\"perSecond\":%.1f,\"p50Us\":%.1f,\"p99Us\":%.1f,\"maxUs\":%.1f,\"cpuUsPerOp\":%.3f}\n",
         (double)count / seconds, quantile(samples, count, 0.5) * 1e6,
         quantile(samples, count, 0.99) * 1e6, quantile(samples, count, 1) * 1e6,
         cpu / (double)count * 1e6);
}

/* ---- measurements ---- */

static void measure_startup(int count) {
  double first[count], last[count];
  for (int i = 0; i < count; i++) {
    struct server server = start_server();
    close(connect_client(&server));
    first[i] = now() - server.started;
    last[i] = stop_server(&server);
  }
  qsort(first, (size_t)count, sizeof *first, compare);
  qsort(last, (size_t)count, sizeof *last, compare);
  printf("{\"startMs\":%.2f,\"stopMs\":%.2f}\n", quantile(first, (size_t)count, 0.5) * 1e3,
         quantile(last, (size_t)count, 0.5) * 1e3);
}

static void measure_connects(int count) {
  struct server server = start_server();
  double *samples = calloc((size_t)count, sizeof *samples);
  for (double end = now() + WARM_UP_SECONDS; now() < end;) close(connect_client(&server));
  double cpu = cpu_seconds(server.pid), begun = now();
  for (int i = 0; i < count; i++) {
    double before = now();
    int client = connect_client(&server);
    samples[i] = now() - before;
    close(client);
  }
  print_latencies(samples, (size_t)count, now() - begun, cpu_seconds(server.pid) - cpu);
  stop_server(&server);
}

enum { WARM_UP, MEASURE, STOP };
static atomic_int phase;

struct client {
  pthread_t thread;
  int fd, gets;
  double *samples;
  size_t count, capacity;
};

static void keep_sample(struct client *client, double seconds) {
  if (client->count == client->capacity) {
    client->capacity = client->capacity ? client->capacity * 2 : 4096;
    client->samples = realloc(client->samples, client->capacity * sizeof *client->samples);
    if (!client->samples) fail("realloc");
  }
  client->samples[client->count++] = seconds;
}

static void get_and_close(int fd, const char *request, size_t size, char *reply) {
  write_all(fd, request, size);
  read_array(fd, reply);
  if (strcmp(reply, "ok") != 0) {
    fprintf(stderr, "load: get was answered: %s\n", reply);
    _exit(1);
  }
  const char *session = reply + strlen("ok") + 1; /* the pid; behind it the session id */
  session += strlen(session) + 1;
  char frame[64];
  size_t length = encode(frame, (const char *[]){"close", session}, 2);
  close(receive_descriptor(fd));
  write_all(fd, frame, length);
}

static void *run_client(void *argument) {
  struct client *client = argument;
  static const char *const get[] = {"get",        "/bench/application", "false", "nobody",
                                    "production", "smart",              "rack"};
  static const char *const count[] = {"getCount"};
  char request[256], *reply = malloc(MAX_FRAME);
  size_t size = client->gets ? encode(request, get, 7) : encode(request, count, 1);
  for (int at; (at = atomic_load_explicit(&phase, memory_order_relaxed)) != STOP;) {
    double before = now();
    if (client->gets) {
      get_and_close(client->fd, request, size, reply);
    } else {
      write_all(client->fd, request, size);
      read_array(client->fd, reply);
    }
    if (at == MEASURE) keep_sample(client, now() - before);
  }
  free(reply);
  return NULL;
}

static void measure_load(int gets, int count, double seconds) {
  struct server server = start_server();
  struct client *clients = calloc((size_t)count, sizeof *clients);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 * 1024);
  for (int i = 0; i < count; i++) {
    clients[i].gets = gets;
    clients[i].fd = connect_client(&server);
  }
  for (int i = 0; i < count; i++) {
    errno = pthread_create(&clients[i].thread, &attributes, run_client, &clients[i]);
    if (errno) fail("pthread_create");
  }
  sleep_seconds(WARM_UP_SECONDS);
  double cpu = cpu_seconds(server.pid), begun = now();
  atomic_store(&phase, MEASURE);
  sleep_seconds(seconds);
  atomic_store(&phase, STOP);
  double spent = cpu_seconds(server.pid) - cpu, elapsed = now() - begun;
  size_t total = 0;
  for (int i = 0; i < count; i++) {
    pthread_join(clients[i].thread, NULL);
    total += clients[i].count;
  }
  double *samples = calloc(total + 1, sizeof *samples);
  size_t at = 0;
  for (int i = 0; i < count; i++) {
    memcpy(samples + at, clients[i].samples, clients[i].count * sizeof *samples);
    at += clients[i].count;
  }
  print_latencies(samples, total, elapsed, spent);
  stop_server(&server);
}

static void measure_idle(int count, double seconds) {
  struct server server = start_server();
  int *clients = calloc((size_t)count + 1, sizeof *clients);
  for (int i = 0; i < count; i++) clients[i] = connect_client(&server);
  if (count == 0) close(connect_client(&server)); /* it runs */
  sleep_seconds(WARM_UP_SECONDS);
  double cpu = cpu_seconds(server.pid);
  sleep_seconds(seconds);
  cpu = cpu_seconds(server.pid) - cpu;
  printf("{\"rssKb\":%ld,\"pssKb\":%ld,\"threads\":%ld,\"idleCpuMsPerS\":%.3f}\n",
         proc_number(server.pid, "status", "VmRSS:"),
         proc_number(server.pid, "smaps_rollup", "Pss:"),
         proc_number(server.pid, "status", "Threads:"), cpu * 1e3 / seconds);
  stop_server(&server);
}

static void raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: load SERVER STUB startup|connect|get|count|idle N [SECONDS]\n");
    return 2;
  }
  server_path = argv[1];
  stub_path = argv[2];
  const char *kind = argv[3];
  int n = atoi(argv[4]);
  double seconds = argc > 5 ? atof(argv[5]) : 1;
  raise_descriptor_limit();
  if (strcmp(kind, "startup") == 0) measure_startup(n);
  else if (strcmp(kind, "connect") == 0) measure_connects(n);
  else if (strcmp(kind, "get") == 0) measure_load(1, n, seconds);
  else if (strcmp(kind, "count") == 0) measure_load(0, n, seconds);
  else if (strcmp(kind, "idle") == 0) measure_idle(n, seconds);
  else return fprintf(stderr, "load: no such measurement: %s\n", kind), 2;
  return 0;
}
