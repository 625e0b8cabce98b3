/**
 * Struct layouts and constants of Linux, as data: LP64 x64 and arm64, glibc and musl.
 *
 * The socket structs agree on all four: where musl has a 32-bit field, glibc's 64-bit one covers it
 * and its padding, and little-endian writes of small values mean the same to both. Only some O_*
 * flags differ between the two architectures. test/native checks every offset by round trips
 * through the kernel.
 */

/** struct msghdr (recvmsg(2)): offsets in bytes. */
export const msghdr = {
  name: 0,
  namelen: 8,
  iov: 16,
  iovlen: 24,
  control: 32,
  controllen: 40,
  flags: 48,
  size: 56,
} as const;

/** struct mmsghdr (sendmmsg(2)): a msghdr, then how many bytes went out. */
export const mmsghdr = { msgLen: 56, size: 64 } as const;

/** struct iovec. */
export const iovec = { base: 0, len: 8, size: 16 } as const;

/** struct cmsghdr (cmsg(3)) for one int: `space` is CMSG_SPACE(4), `lenOfInt` CMSG_LEN(4). */
export const cmsghdr = { len: 0, level: 8, type: 12, data: 16, lenOfInt: 20, space: 24 } as const;

/** struct sockaddr_un (unix(7)): a 16-bit family, then 108 bytes of path. */
export const sockaddrUn = { family: 0, path: 2, pathSize: 108, size: 110 } as const;

/** struct sockaddr_in (ip(7)) and sockaddr_in6 (ipv6(7)); ports and addresses are big-endian. */
export const sockaddrIn = { family: 0, port: 2, address: 4, size: 16 } as const;
export const sockaddrIn6 = { family: 0, port: 2, address: 8, size: 28 } as const;

/** struct timespec (clock_gettime(2)): two 64-bit numbers. */
export const timespec = { seconds: 0, nanoseconds: 8, size: 16 } as const;

/** struct pollfd (poll(2)). */
export const pollfd = { fd: 0, events: 4, revents: 6, size: 8 } as const;

/** struct rlimit (getrlimit(2)): two 64-bit numbers. */
export const rlimit = { soft: 0, hard: 8, size: 16 } as const;

/** struct passwd (getpwnam(3)). */
export const passwd = { name: 0, uid: 16, gid: 20, dir: 32, shell: 40 } as const;

/** struct open_how (openat2(2)): three 64-bit numbers. */
export const openHow = { flags: 0, mode: 8, resolve: 16, size: 24 } as const;

/** struct statx (statx(2)): the fields that are read. */
export const statx = {
  mask: 0,
  mode: 28,
  blocks: 48,
  mtimeSeconds: 112,
  mtimeNanoseconds: 120,
  deviceMajor: 136,
  deviceMinor: 140,
  mountId: 144,
  size: 256,
} as const;

/** struct statfs (statfs(2)): the field that is read. */
export const statfs = { type: 0, size: 120 } as const;

const isArm = process.arch === "arm64";

/** Constants of the kernel's headers; the same on every supported platform unless computed. */
export const C = {
  FUSE_SUPER_MAGIC: 0x6573_5546,
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  AF_NETLINK: 16,
  NETLINK_SOCK_DIAG: 4,
  SOCK_DIAG_BY_FAMILY: 20,
  NLM_F_REQUEST: 1,
  NLMSG_ERROR: 2,
  INADDR_LOOPBACK: 0x7f00_0001,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_NONBLOCK: 0x800,
  SOCK_CLOEXEC: 0x80000,
  SOL_SOCKET: 1,
  SO_REUSEADDR: 2,
  SO_TYPE: 3,
  SO_ERROR: 4,
  IPPROTO_TCP: 6,
  TCP_NODELAY: 1,
  TCP_INFO: 11,
  TCP_QUICKACK: 12,
  TCP_CLOSE_WAIT: 8,
  TCP_LISTEN: 10,
  SO_REUSEPORT: 15,
  SO_PEERCRED: 17,
  SO_ACCEPTCONN: 30,
  SO_DOMAIN: 39,
  IPPROTO_IPV6: 41,
  IPV6_V6ONLY: 26,
  CLOCK_MONOTONIC: 1,
  SCM_RIGHTS: 1,
  MSG_CTRUNC: 0x8,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  MSG_CMSG_CLOEXEC: 0x40000000,
  SHUT_RDWR: 2,
  F_DUPFD_CLOEXEC: 1030,
  F_GETFD: 1,
  F_SETFD: 2,
  F_GETFL: 3,
  F_SETFL: 4,
  F_SETOWN: 8,
  FD_CLOEXEC: 1,
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_APPEND: 0o2000,
  O_NONBLOCK: 0o4000,
  O_ASYNC: 0o20000,
  O_DIRECTORY: isArm ? 0o40000 : 0o200000,
  O_NOFOLLOW: isArm ? 0o100000 : 0o400000,
  O_CLOEXEC: 0o2000000,
  O_PATH: 0o10000000,
  AT_FDCWD: -100,
  AT_EMPTY_PATH: 0x1000,
  AT_STATX_DONT_SYNC: 0x4000,
  STATX_TYPE: 0x1,
  STATX_MTIME: 0x40,
  STATX_BLOCKS: 0x400,
  STATX_MNT_ID: 0x1000,
  // With O_DIRECTORY, as older kernels need it (open(2)).
  O_TMPFILE: 0o20000000 | (isArm ? 0o40000 : 0o200000),
  FIONREAD: 0x541b,
  POLLIN: 0x1,
  POLLOUT: 0x4,
  POLLERR: 0x8,
  POLLHUP: 0x10,
  POLLNVAL: 0x20,
  PR_SET_PDEATHSIG: 1,
  PR_SET_CHILD_SUBREAPER: 36,
  PR_GET_CHILD_SUBREAPER: 37,
  PR_SET_NO_NEW_PRIVS: 38,
  SYS_CLONE: isArm ? 220 : 56,
  SYS_CLONE3: 435,
  SYS_FCNTL: isArm ? 25 : 72,
  SYS_IOCTL: isArm ? 29 : 16,
  SYS_PRLIMIT64: isArm ? 261 : 302,
  SYS_SECCOMP: isArm ? 277 : 317,
  SYS_MADVISE: isArm ? 233 : 28,
  MADV_DONTNEED: 4,
  MADV_DONTFORK: 10,
  PROT_READ: 1,
  PROT_WRITE: 2,
  MAP_PRIVATE: 2,
  MAP_ANONYMOUS: 0x20,
  SCHED_OTHER: 0,
  SCHED_BATCH: 3,
  SYS_SCHED_SETSCHEDULER: isArm ? 119 : 144,
  SYS_SCHED_GETSCHEDULER: isArm ? 120 : 145,
  SYS_GETGROUPS: isArm ? 158 : 115,
  SYS_SETGROUPS: isArm ? 159 : 116,
  SYS_SETGID: isArm ? 144 : 106,
  SYS_SETUID: isArm ? 146 : 105,
  SYS_FSTAT: isArm ? 80 : 5,
  SYS_MEMFD_CREATE: isArm ? 279 : 319,
  MFD_CLOEXEC: 1,
  SYS_PIDFD_SEND_SIGNAL: 424,
  SYS_PIDFD_OPEN: 434,
  SYS_CLOSE_RANGE: 436,
  SYS_OPENAT2: 437,
  SYS_STATX: isArm ? 291 : 332,
  SYS_FSTATFS: isArm ? 44 : 138,
  SYS_READLINKAT: isArm ? 78 : 267,
  RESOLVE_NO_XDEV: 0x01,
  RESOLVE_NO_MAGICLINKS: 0x02,
  RESOLVE_NO_SYMLINKS: 0x04,
  RESOLVE_BENEATH: 0x08,
  RESOLVE_CACHED: 0x20,
  PIDFD_SIGNAL_PROCESS_GROUP: 4,
  SIG_SETMASK: 2,
  WNOHANG: 1,
} as const;
