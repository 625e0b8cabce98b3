/*
 * Ends an instance that is stuck after its server is gone. A thread of its own waits for the end of
 * the lifeline, descriptor 4; ten seconds later the process ends, whatever its JavaScript does. It
 * is compiled in the instance, by Bun, and so declares what it needs of the C library itself.
 */
struct pollfd {
  int fd;
  short events;
  short revents;
};

int poll(struct pollfd *, unsigned long, int);
int pthread_create(unsigned long *, const void *, void *(*)(void *), void *);
int pthread_detach(unsigned long);
int pthread_sigmask(int, const unsigned long *, unsigned long *);
void _exit(int);

enum { LIFELINE = 4, POLLERR = 8, POLLHUP = 16, STUCK_MS = 10000, SIG_BLOCK = 0 };

static void *watch(void *nothing) {
  struct pollfd lifeline;
  lifeline.fd = LIFELINE;
  lifeline.events = 0;
  do
    lifeline.revents = 0;
  while (poll(&lifeline, 1, -1) < 0);
  /* Anything else: the program has closed the descriptor, which the server takes for its end. */
  if ((lifeline.revents & (POLLHUP | POLLERR)) == 0) return nothing;
  poll(0, 0, STUCK_MS);
  _exit(0);
  return nothing;
}

/* 0, or an error number. The thread handles no signal: they are for the others. */
int start_watchdog(void) {
  unsigned long all[16], before[16], thread;
  int failed, i;
  for (i = 0; i < 16; i++) all[i] = ~0UL;
  pthread_sigmask(SIG_BLOCK, all, before);
  failed = pthread_create(&thread, 0, watch, 0);
  if (!failed) pthread_detach(thread);
  pthread_sigmask(2 /* SIG_SETMASK */, before, 0);
  return failed;
}
