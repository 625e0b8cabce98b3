/**
 * A fence around this process for good: system calls that it has no use for answer EPERM. Made for
 * what parses strangers' bytes once everything it needs is open: it starts no program and no
 * process, opens no socket, touches no other process, and asks nothing of the kernel beyond files
 * and the descriptors it has. Manual pages: seccomp(2), bpf of the classic kind.
 *
 * The list says what is refused, not what is allowed: the runtime's own calls change with each of
 * its versions. Calls that act on a process are allowed for this one, `clone` for threads.
 */
import { constants } from "node:os";

import { C } from "./layout.ts";
import { address, allocate, arenaView, checked, libc, putWord, reserve } from "./libc.ts";
import { forbidNewPrivileges } from "./process.ts";

const isArm = process.arch === "arm64";

const refused = numbersOf(
  // Programs and processes.
  "execve 59 221, execveat 322 281, fork 57 0, vfork 58 0",
  // Other processes.
  "ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272",
  "pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424, process_madvise 440 440",
  "process_mrelease 448 448, migrate_pages 256 238, move_pages 279 239, tkill 200 130",
  // Sockets: those it has are all it needs.
  "socket 41 198, socketpair 53 199, bind 49 200, connect 42 203, listen 50 201",
  // What other processes of its user share.
  "shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semop 65 193, semctl 66 191",
  "semtimedop 220 192, msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187",
  "mq_open 240 180, mq_unlink 241 181, add_key 248 217, request_key 249 218, keyctl 250 219",
  // Namespaces and mounts.
  "unshare 272 97, setns 308 268, mount 165 40, umount2 166 39, pivot_root 155 41",
  "chroot 161 51, open_tree 428 428, move_mount 429 429, fsopen 430 430, fsconfig 431 431",
  "fsmount 432 432, fspick 433 433, mount_setattr 442 442, name_to_handle_at 303 264",
  "open_by_handle_at 304 265",
  // Large parts of the kernel that have no part in serving.
  "bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, io_uring_setup 425 425",
  "io_uring_enter 426 426, io_uring_register 427 427, fanotify_init 300 262, modify_ldt 154 0",
  "personality 135 92, uselib 134 0, lookup_dcookie 212 18",
  // The machine.
  "acct 163 89, quotactl 179 60, quotactl_fd 443 443, swapon 167 224, swapoff 168 225",
  "reboot 169 142, syslog 103 116, vhangup 153 58, init_module 175 105, finit_module 313 273",
  "delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, settimeofday 164 170",
  "clock_settime 227 112, clock_adjtime 305 266, adjtimex 159 171, sethostname 170 161",
  "setdomainname 171 162, iopl 172 0, ioperm 173 0",
);

/** Calls whose first argument is a process: this one may be meant, by its number. */
const aboutSelf = numbersOf(
  "kill 62 129, tgkill 234 131, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240",
);
/** Calls that end a socket for all who share it, or give it another number, at which they could. */
const ofDescriptor = numbersOf("shutdown 48 210, dup 32 23, dup2 33 0, dup3 292 24");
/** Commands of fcntl(2) that duplicate: F_DUPFD, F_DUPFD_CLOEXEC. */
const duplicating = [0, 1030];

const cloneThread = 0x10000;
/** Typing into a terminal (ioctl_tty(2)): what stdout may be. */
const terminalInput = [0x5412, 0x541c]; // TIOCSTI, TIOCLINUX
/** linux/audit.h: the machine, 64 bits, little-endian. */
const architecture = isArm ? 0xc00000b7 : 0xc000003e;
/** Calls of x64's other ABI (x32), which would pass by the numbers above. */
const x32 = 0x40000000;

/** struct seccomp_data: where a call's number, machine and arguments are (lower halves). */
const data = { number: 0, architecture: 4, firstArgument: 16, secondArgument: 24 } as const;

/** linux/bpf_common.h and filter.h: the few instructions needed. */
const code = { load: 0x20, ifEqual: 0x15, ifAtLeast: 0x35, ifAnyBit: 0x45, answer: 0x06 } as const;
const answers = {
  allow: 0x7fff0000,
  refuse: 0x00050000 | constants.errno.EPERM,
  unknown: 0x00050000 | constants.errno.ENOSYS,
} as const;

/** How many instructions are skipped is said for both outcomes. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

const instructionBytes = 8;
const programOffset = reserve(16); // struct sock_fprog: a length, padding, an address

/**
 * Puts the fence up around all threads. Nothing this process starts later gets around it.
 * @param shared a socket that other processes share: it can be neither shut down nor duplicated.
 * @throws SyscallError where the kernel has none: ENOSYS or EINVAL.
 */
export function refuseSystemCalls(shared: number): void {
  const program = filterFor(process.pid, shared);
  const block = allocate(program.length * instructionBytes);
  program.forEach(([operation, ifTrue, ifFalse, value], index) => {
    const at = index * instructionBytes;
    block.view.setUint16(at, operation, true);
    block.view.setUint8(at + 2, ifTrue);
    block.view.setUint8(at + 3, ifFalse);
    block.view.setUint32(at + 4, value, true);
  });
  arenaView.setUint16(programOffset, program.length, true);
  putWord(programOffset + 8, block.address);
  forbidNewPrivileges();
  const [setFilter, allThreads] = [1, 1]; // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
  const filter = Number(address(programOffset));
  const thread = libc.syscall(C.SYS_SECCOMP, setFilter, allThreads, filter, 0, 0);
  // With this flag, a thread that could not be fenced in.
  if (checked(thread, "seccomp") > 0) {
    throw new Error(`seccomp: thread ${thread} keeps a filter of its own`);
  }
}

/** The program, for the process of that number. */
function filterFor(pid: number, shared: number): Instruction[] {
  const { allow, refuse, unknown } = answers;
  const { firstArgument, secondArgument } = data;
  return [
    load(data.architecture),
    ...unless(code.ifEqual, architecture, refuse),
    load(data.number),
    ...when(code.ifAtLeast, x32, refuse),
    ...whenOneOf(refused, refuse),
    // The C library falls back to clone, whose flags can be seen.
    ...when(code.ifEqual, C.SYS_CLONE3, unknown),
    ...onCall(C.SYS_CLONE, firstArgument, [
      ...when(code.ifAnyBit, cloneThread, allow),
      answer(refuse),
    ]),
    ...aboutSelf.flatMap((number) =>
      onCall(number, firstArgument, [...whenOneOf([pid], allow), answer(refuse)]),
    ),
    // 0 means this process too.
    ...onCall(C.SYS_PRLIMIT64, firstArgument, [...whenOneOf([0, pid], allow), answer(refuse)]),
    ...ofDescriptor.flatMap((number) =>
      onCall(number, firstArgument, [...whenOneOf([shared], refuse), answer(allow)]),
    ),
    ...onCall(C.SYS_FCNTL, firstArgument, [
      ...unless(code.ifEqual, shared, allow),
      load(secondArgument),
      ...whenOneOf(duplicating, refuse),
      answer(allow),
    ]),
    ...onCall(C.SYS_IOCTL, secondArgument, [...whenOneOf(terminalInput, refuse), answer(allow)]),
    answer(allow),
  ];
}

/** @param lists of names, each with its numbers on x64 and arm64; 0: there is none of that name. */
function numbersOf(...lists: readonly string[]): number[] {
  const calls = lists.flatMap((list) => list.split(", "));
  return calls.map((call) => Number(call.split(" ")[isArm ? 2 : 1])).filter(Boolean);
}

function load(offset: number): Instruction {
  return [code.load, 0, 0, offset];
}

function answer(value: number): Instruction {
  return [code.answer, 0, 0, value];
}

/** Answers if what is loaded is so, goes on if not. */
function when(test: number, value: number, then: number): Instruction[] {
  return [[test, 0, 1, value], answer(then)];
}

function whenOneOf(values: readonly number[], then: number): Instruction[] {
  return values.flatMap((value) => when(code.ifEqual, value, then));
}

/** Answers if what is loaded is not so. */
function unless(test: number, value: number, then: number): Instruction[] {
  return [[test, 1, 0, value], answer(then)];
}

/** Decides a call by one of its arguments; `decision` ends in an answer in any case. */
function onCall(number: number, argument: number, decision: Instruction[]): Instruction[] {
  const skipped = decision.length + 1;
  return [[code.ifEqual, 0, skipped, number], load(argument), ...decision];
}
