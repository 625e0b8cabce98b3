/*
 * Starts a program in a process of its own: a copy of this one (clone(2), as fork(2) is) prepares
 * itself and then executes the program. What cannot be done here, or goes wrong, is left to the
 * launch command, which the process becomes instead: it can say what is the matter, and is ten
 * times as slow.
 *
 * The process shares no memory with the server, as after vfork(2): once it has become a tenant's,
 * he can stop it, and the server must not wait for it then.
 *
 * Of the server's memory it has all but the heap (unforked-heap.ts). So it is not made by the C
 * library's fork, after which functions of the runtime's (pthread_atfork(3)) write to the heap; and
 * it calls nothing that allocates or takes a lock, which a thread that is not here may hold.
 *
 * It is compiled by Bun, in the server, and so declares what it needs of the C library itself.
 */
/* A resource of getrlimit(2), and its struct rlimit. */
struct limit {
  long resource;
  unsigned long soft_and_hard[2];
};

/* All members are words of 64 bits, in the order of start-program.ts; vectors end with NULL. */
struct start {
  char **argv;
  char **environment;
  char **places;
  char **launcher;
  char **launcher_environment;
  /* One string, or none. */
  char **directory;
  char **cwd;
  char **group;
  /* Whom it is to become, or nobody. */
  unsigned long is_user, uid, gid;
  unsigned *groups;
  unsigned long group_count;
  unsigned long is_known, device, inode;
  struct limit *limits;
  unsigned long limit_count;
  unsigned long is_masked, mask;
  unsigned long is_batch;
  /* What is to have the numbers from 1. */
  long descriptors[4];
  /* Written to the last of them when nothing can be executed; it ends with room for the name of
     the error, which is one of these. */
  char *failure;
  unsigned long failure_length;
  char **error_names;
  unsigned long error_count;
};

int setsid(void);
int dup2(int, int);
int close(int);
int fcntl(int, int, ...);
int open(const char *, int, ...);
int fchdir(int);
int chdir(const char *);
int setrlimit(int, const unsigned long *);
int access(const char *, int);
unsigned umask(unsigned);
int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long);
int execve(const char *, char **, char **);
int sigprocmask(int, const unsigned long *, unsigned long *);
void (*signal(int, void (*)(int)))(int);
long write(int, const void *, unsigned long);
long syscall(long, ...);
int *__errno_location(void);
void _exit(int);

enum { COUNT = 5, NAME_ROOM = 16, SIGNALS = 64, SIGSET_WORDS = 16, FAILED = 127 };
enum { O_WRONLY = 1, O_RDWR = 2, X_OK = 1, F_DUPFD = 0 };
enum { SIGCHLD = 17, SIG_SETMASK = 2, PR_SET_NO_NEW_PRIVS = 38 };
enum { SCHED_OTHER = 0, SCHED_BATCH = 3 };
enum { ENOENT = 2, EACCES = 13, ENOTDIR = 20 };

static void reset_signals(void) {
  unsigned long none[SIGSET_WORDS];
  int i;
  for (i = 1; i <= SIGNALS; i++) signal(i, 0);
  for (i = 0; i < SIGSET_WORDS; i++) none[i] = 0;
  sigprocmask(SIG_SETMASK, none, 0);
}

/* What has one of the numbers that are given out is moved out of the way first. */
static int place_descriptors(struct start *start) {
  int i, from[COUNT];
  for (i = 1; i < COUNT; i++) {
    from[i] = start->descriptors[i - 1];
    if (from[i] < COUNT) from[i] = fcntl(from[i], F_DUPFD, COUNT);
    if (from[i] < 0) return -1;
  }
  close(0);
  if (open("/dev/null", O_RDWR) != 0) return -1;
  for (i = 1; i < COUNT; i++) {
    if (dup2(from[i], i) < 0) return -1;
  }
  return 0;
}

/* The C library's functions would wait for threads that it believes to be here too. */
static int become_user(struct start *start) {
  if (syscall(SYS_SETGROUPS, start->group_count, start->groups) != 0) return -1;
  if (syscall(SYS_SETGID, start->gid) != 0) return -1;
  return syscall(SYS_SETUID, start->uid);
}

/* Both architectures begin their struct stat with device and inode. */
static int enter(struct start *start) {
  unsigned long facts[32];
  int directory = open(*start->directory, O_DIRECTORY_PATH);
  if (directory < 0) return -1;
  if (start->is_known) {
    if (syscall(SYS_FSTAT, (long)directory, facts) != 0) return -1;
    if (facts[0] != start->device || facts[1] != start->inode) return -1;
  }
  return fchdir(directory);
}

/* "0" is who writes it (cgroups(7)): nothing of the application runs outside of its group. */
static int join(struct start *start) {
  int processes = open(*start->group, O_WRONLY);
  return processes >= 0 && write(processes, "0", 1) == 1 ? 0 : -1;
}

/* See scheduleAsBatch in process.ts. */
static void schedule_as_batch(void) {
  int priority = 0;
  if (syscall(SYS_SCHED_GETSCHEDULER, 0L) != SCHED_OTHER) return;
  syscall(SYS_SCHED_SETSCHEDULER, 0L, (long)SCHED_BATCH, &priority);
}

/* In the order that keeps the right to do the next. */
static int prepare(struct start *start) {
  if (*start->group && join(start) != 0) return -1;
  if (syscall(SYS_CLOSE_RANGE, (long)COUNT, 0xffffffffL, 0L) != 0) return -1;
  if (setsid() < 0) return -1;
  if (start->is_user && become_user(start) != 0) return -1;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  if (*start->directory && enter(start) != 0) return -1;
  if (*start->cwd && chdir(*start->cwd) != 0) return -1;
  if (start->is_masked) umask(start->mask);
  if (start->is_batch) schedule_as_batch();
  return 0;
}

/* As late as can be: with little memory the launch command cannot say what is the matter. */
static int set_limits(struct start *start) {
  unsigned long i;
  for (i = 0; i < start->limit_count; i++) {
    struct limit *limit = &start->limits[i];
    if (setrlimit(limit->resource, limit->soft_and_hard) != 0) return -1;
  }
  return 0;
}

/* As when the user may have no more processes: that counts from execve(2) on. */
static void give_up(struct start *start, int descriptor) {
  unsigned error = *__errno_location();
  char *room = start->failure + start->failure_length - NAME_ROOM;
  if (error < start->error_count) {
    char *name = start->error_names[error];
    int i;
    for (i = 0; i < NAME_ROOM && name[i]; i++) room[i] = name[i];
  }
  write(descriptor, start->failure, start->failure_length);
  _exit(FAILED);
}

static void become(struct start *start) {
  char **place;
  reset_signals();
  if (place_descriptors(start) != 0) give_up(start, start->descriptors[COUNT - 2]);
  if (prepare(start) == 0) {
    for (place = start->places; *place; place++) {
      int error;
      if (access(*place, X_OK) != 0) continue;
      if (set_limits(start) != 0) break;
      execve(*place, start->argv, start->environment);
      error = *__errno_location();
      if (error != ENOENT && error != ENOTDIR && error != EACCES) break;
    }
  }
  execve(start->launcher[0], start->launcher, start->launcher_environment);
  give_up(start, COUNT - 1);
}

/* The process id, or -1 and errno. */
int start_program(struct start *start) {
  unsigned long all[SIGSET_WORDS], before[SIGSET_WORDS];
  int i, pid;
  for (i = 0; i < SIGSET_WORDS; i++) all[i] = ~0UL;
  /* A signal that comes to the child must not run a handler of the server's. */
  sigprocmask(SIG_SETMASK, all, before);
  pid = syscall(SYS_CLONE, (long)SIGCHLD, 0L, 0L, 0L, 0L);
  if (pid == 0) become(start);
  sigprocmask(SIG_SETMASK, before, 0);
  return pid;
}
