/*
 * Ends an instance that is stuck after its server is gone. The kernel sends a signal when something
 * happens on the lifeline, descriptor 4 (fcntl(2), O_ASYNC); if it is its end, an alarm is set that
 * ends the process and its group ten seconds later, whatever its JavaScript does. No thread waits
 * on the descriptor: that would keep it open when the program closes it, which means death to the
 * server. It is compiled in the instance, by Bun, and so declares what it needs of the C library
 * itself.
 */
struct pollfd {
  int fd;
  short events;
  short revents;
};

int fcntl(int, int, ...);
int getpid(void);
int getpgrp(void);
int kill(int, int);
int poll(struct pollfd *, unsigned long, int);
unsigned alarm(unsigned);
int *__errno_location(void);
void (*signal(int, void (*)(int)))(int);

/* A real-time signal that nobody else uses: neither C libraries nor runtimes take the last ones. */
enum { LIFELINE = 4, SIGNAL = 62, SIGKILL = 9, SIGALRM = 14, STUCK_SECONDS = 10 };
enum { HANGUP = 16 | 8 };
enum { F_GETFL = 3, F_SETFL = 4, F_SETOWN = 8, F_SETSIG = 10, O_ASYNC = 0x2000 };

static int isSet;

static void end(int number) {
  kill(getpgrp() == getpid() ? 0 : getpid(), SIGKILL);
}

static void look(int number) {
  int *error = __errno_location();
  int before = *error;
  struct pollfd lifeline;
  lifeline.fd = LIFELINE;
  lifeline.events = 0;
  lifeline.revents = 0;
  if (!isSet && poll(&lifeline, 1, 0) == 1 && (lifeline.revents & HANGUP)) {
    isSet = 1;
    signal(SIGALRM, end);
    alarm(STUCK_SECONDS);
  }
  *error = before;
}

/* Not 0 if the kernel refuses. */
int start_watchdog(void) {
  signal(SIGNAL, look);
  if (fcntl(LIFELINE, F_SETOWN, getpid()) != 0) return 1;
  if (fcntl(LIFELINE, F_SETSIG, SIGNAL) != 0) return 1;
  if (fcntl(LIFELINE, F_SETFL, fcntl(LIFELINE, F_GETFL) | O_ASYNC) != 0) return 1;
  look(SIGNAL); /* It may have ended already. */
  return 0;
}
