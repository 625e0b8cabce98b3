/**
 * What the kernel knows about processes and users: limits, signals, identities, and the execve that
 * ends the hidden launch command. Manual pages: getrlimit(2), kill(2), getpwnam(3), initgroups(3),
 * execve(2).
 */
import { CString, read } from "bun:ffi";

import { errnos, SyscallError } from "./errno.ts";
import { C, passwd, rlimit } from "./layout.ts";
import {
  address,
  allocate,
  arenaBytes,
  arenaView,
  checked,
  cPath,
  errno,
  libc,
  reserve,
} from "./libc.ts";

const limitOffset = reserve(rlimit.size);
const flagOffset = reserve(4);
const signalSetOffset = reserve(128); // sigset_t of glibc and musl: 1,024 bits

/** Limits of the kernel (getrlimit(2)) by their numbers, the same on x64 and arm64. */
export const resources = {
  cpuTime: 0,
  fileSize: 1,
  core: 4,
  processes: 6,
  openFiles: 7,
  lockedMemory: 8,
  addressSpace: 9,
} as const;

/** A limit as it is sent about: -1 is none. */
export type ResourceLimit = readonly [resource: number, soft: number, hard: number];

/** RLIMIT_NOFILE; `unlimited` is 2^64 - 1 and stays a bigint. */
export interface DescriptorLimit {
  readonly soft: bigint;
  readonly hard: bigint;
}

export function getLimit(resource: number): DescriptorLimit {
  checked(libc.getrlimit(resource, address(limitOffset)), "getrlimit", `resource ${resource}`);
  return {
    soft: arenaView.getBigUint64(limitOffset + rlimit.soft, true),
    hard: arenaView.getBigUint64(limitOffset + rlimit.hard, true),
  };
}

export function getDescriptorLimit(): DescriptorLimit {
  return getLimit(resources.openFiles);
}

function setLimit(resource: number, soft: bigint, hard: bigint): void {
  arenaView.setBigUint64(limitOffset + rlimit.soft, soft, true);
  arenaView.setBigUint64(limitOffset + rlimit.hard, hard, true);
  checked(libc.setrlimit(resource, address(limitOffset)), "setrlimit", `resource ${resource}`);
}

export function setDescriptorLimit({ soft, hard }: DescriptorLimit): void {
  setLimit(resources.openFiles, soft, hard);
}

/**
 * The file this process runs (proc(5)): also when its name means another by now, or nothing, and
 * also where a user that it has become cannot go. A child that executes it runs the same.
 */
export const ownProgram = "/proc/self/exe";

/** Signal numbers of Linux on x64 and arm64. */
export const signals = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGTERM: 15,
  SIGCHLD: 17,
} as const;

/** Ignores a signal in this process (signal(2) SIG_IGN). */
export function ignoreSignal(signal: number): void {
  libc.signal(signal, 1);
}

/** Gives every signal its default disposition and an empty mask, as programs expect them. */
export function resetSignals(): void {
  // SIGKILL and SIGSTOP refuse, as do the two that the C library keeps (32, 33); none of them
  // matters here.
  for (let signal = 1; signal <= 64; signal += 1) libc.signal(signal, 0);
  arenaBytes.fill(0, signalSetOffset, signalSetOffset + 128);
  libc.sigprocmask(C.SIG_SETMASK, address(signalSetOffset), null);
}

/** Signals a process, or with a negative number a group. @returns false: there is none. */
export function sendSignal(pid: number, signal: number): boolean {
  if (libc.kill(pid, signal) === 0) return true;
  const cause = errno();
  if (cause === errnos.ESRCH) return false;
  throw new SyscallError("kill", `process ${pid}`, cause);
}

/** Whether there is a process of that number, whoever it is of. */
export function isAlive(pid: number): boolean {
  try {
    return sendSignal(pid, 0);
  } catch {
    return true; // EPERM: it is somebody else's.
  }
}

/** Takes the end of a child that has ended (waitpid(2)); its status is of no interest. */
export function reap(pid: number): void {
  libc.waitpid(pid, null, C.WNOHANG);
}

/** A user of the system's user database. */
export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

function readUser(found: ReturnType<typeof libc.getpwnam>): User | undefined {
  if (found === null) return undefined;
  const entry = Number(found) as Exclude<typeof found, bigint>;
  const text = (offset: number): string => {
    const at = read.ptr(entry, offset);
    return at === 0 ? "" : new CString(at);
  };
  return {
    name: text(passwd.name),
    uid: read.u32(entry, passwd.uid),
    gid: read.u32(entry, passwd.gid),
    home: text(passwd.dir),
    shell: text(passwd.shell),
  };
}

export function findUser(name: string): User | undefined {
  return readUser(libc.getpwnam(cPath(name)));
}

export function findUserById(uid: number): User | undefined {
  return readUser(libc.getpwuid(uid));
}

/**
 * Becomes the user for good: supplementary groups, group, user, in the order that keeps the right
 * to do the next. One that is the user already may not, and need not, do that.
 */
export function becomeUser(user: User): void {
  if (process.getuid?.() === user.uid && process.geteuid?.() === user.uid) return;
  checked(libc.initgroups(cPath(user.name), user.gid), "initgroups", `user ${user.name}`);
  checked(libc.setgid(user.gid), "setgid", `group ${user.gid}`);
  checked(libc.setuid(user.uid), "setuid", `user ${user.name}`);
}

/** Changes the working directory, given as bytes. */
export function changeDirectory(path: string): void {
  checked(libc.chdir(cPath(path)), "chdir", path);
}

/**
 * Makes this process the leader of a session of its own, and of a group: no terminal is its. One
 * that leads a group already (EPERM) is left as it is.
 */
export function ownSession(): void {
  if (libc.setsid() >= 0) return;
  const cause = errno();
  if (cause !== errnos.EPERM) throw new SyscallError("setsid", "", cause);
}

/** Makes orphans among its descendants children of this process (PR_SET_CHILD_SUBREAPER). */
export function adoptOrphans(): void {
  prctl("PR_SET_CHILD_SUBREAPER", 1);
}

/** Whether orphans come to this process (PR_GET_CHILD_SUBREAPER). */
export function adoptsOrphans(): boolean {
  prctl("PR_GET_CHILD_SUBREAPER", address(flagOffset));
  return arenaView.getInt32(flagOffset, true) !== 0;
}

/** Has the kernel signal this process when its parent ends (prctl(2) PR_SET_PDEATHSIG). */
export function dieWithParent(signal: number = signals.SIGKILL): void {
  prctl("PR_SET_PDEATHSIG", signal);
}

/** No program this process executes gains privileges (prctl(2) PR_SET_NO_NEW_PRIVS). */
export function forbidNewPrivileges(): void {
  prctl("PR_SET_NO_NEW_PRIVS", 1);
}

/**
 * Has this process not take the processor from whoever wakes it (sched(7), SCHED_BATCH), unless
 * somebody has chosen how it is scheduled. It is for instances that serve one request at a time: a
 * worker wakes one for each, and can then send all that it has before the first of them runs. Under
 * load they answer a sixth to a quarter more, beside programs that burn all processors an eighth
 * less; those that serve many at a time would win nothing, and lose half.
 */
export function scheduleAsBatch(): void {
  if (Number(libc.syscall(C.SYS_SCHED_GETSCHEDULER, 0, 0, 0, 0, 0)) !== C.SCHED_OTHER) return;
  arenaView.setInt32(flagOffset, 0, true);
  const priority = Number(address(flagOffset));
  libc.syscall(C.SYS_SCHED_SETSCHEDULER, 0, C.SCHED_BATCH, priority, 0, 0);
}

function prctl(option: keyof typeof C & `PR_${string}`, argument: number): void {
  checked(libc.prctl(C[option], argument, 0, 0, 0), `prctl ${option}`);
}

/**
 * Replaces this process by another program; returns only by throwing. Strings are byte strings. The
 * vectors live in a buffer of their own: an environment does not fit the arena, and nothing runs
 * afterwards. Limits come last, since we may have more by now than they allow.
 */
export function execute(
  path: string,
  argv: readonly string[],
  environment: readonly string[],
  limits: readonly ResourceLimit[] = [],
): never {
  const { vectors } = stringVectors([argv, environment]);
  for (const [resource, soft, hard] of limits) setLimit(resource, BigInt(soft), BigInt(hard));
  libc.execve(cPath(path), vectors[0] ?? null, vectors[1] ?? null);
  throw new SyscallError("execve", path, errno());
}

/**
 * Lists of byte strings as C has them: the address of a vector for each, which ends with a NULL.
 * They are there as long as what this returns is.
 */
export function stringVectors(
  lists: readonly (readonly string[])[],
  take: typeof allocate = allocate,
): {
  readonly vectors: readonly ReturnType<typeof address>[];
  readonly memory: ArrayBufferLike;
} {
  const slots = lists.reduce((sum, list) => sum + list.length + 1, 0);
  const bytes = lists.flat().reduce((sum, text) => sum + text.length + 1, 0);
  const block = take(slots * 8 + bytes);
  const vectors: ReturnType<typeof address>[] = [];
  let slot = 0;
  let stringAt = slots * 8;
  for (const list of lists) {
    vectors.push((block.address + slot) as typeof block.address);
    for (const text of list) {
      if (text.includes("\0")) throw new RangeError("a string contains a NUL byte");
      block.bytes.set(Buffer.from(text, "latin1"), stringAt);
      block.view.setBigUint64(slot, BigInt(block.address + stringAt), true);
      stringAt += text.length + 1;
      slot += 8;
    }
    slot += 8; // the NULL that ends each vector
  }
  return { vectors, memory: block.bytes.buffer };
}
