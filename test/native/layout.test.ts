/** The layouts and numbers of layout.ts and errno.ts, against the C headers of this machine. */
import { expect, test } from "bun:test";

import { errnoName, errnos } from "../../src/native/errno.ts";
import * as layout from "../../src/native/layout.ts";
import { signals } from "../../src/native/process.ts";
import { runC } from "../helpers/c-program.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

const headers = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
`;

/** What C says to each expression. */
async function ask(expressions: readonly string[]): Promise<number[]> {
  const prints = expressions.map(
    (expression) => `  printf("%lld\\n", (long long)(${expression}));`,
  );
  const source = `${headers}int main(void) {\n${prints.join("\n")}\n  return 0;\n}\n`;
  const output = await runC(temporaryDirectory(), source);
  return output.trim().split("\n").map(Number);
}

/** Checks each expression against the number we use, all at once. */
async function expectSame(ours: Readonly<Record<string, number>>): Promise<void> {
  const expressions = Object.keys(ours);
  const answers = await ask(expressions);
  const theirs = Object.fromEntries(expressions.map((expression, i) => [expression, answers[i]]));
  expect(theirs).toEqual(ours);
}

test("structs lie in memory as the C library lays them out", async () => {
  const { msghdr, mmsghdr, iovec, cmsghdr, sockaddrUn, pollfd, rlimit, passwd } = layout;
  const { sockaddrIn, sockaddrIn6, timespec, openHow, statx, statfs } = layout;
  await expectSame({
    "offsetof(struct msghdr, msg_name)": msghdr.name,
    "offsetof(struct msghdr, msg_namelen)": msghdr.namelen,
    "offsetof(struct msghdr, msg_iov)": msghdr.iov,
    "offsetof(struct msghdr, msg_iovlen)": msghdr.iovlen,
    "offsetof(struct msghdr, msg_control)": msghdr.control,
    "offsetof(struct msghdr, msg_controllen)": msghdr.controllen,
    "offsetof(struct msghdr, msg_flags)": msghdr.flags,
    "sizeof(struct msghdr)": msghdr.size,
    "offsetof(struct mmsghdr, msg_len)": mmsghdr.msgLen,
    "sizeof(struct mmsghdr)": mmsghdr.size,
    "offsetof(struct iovec, iov_base)": iovec.base,
    "offsetof(struct iovec, iov_len)": iovec.len,
    "sizeof(struct iovec)": iovec.size,
    "offsetof(struct cmsghdr, cmsg_len)": cmsghdr.len,
    "offsetof(struct cmsghdr, cmsg_level)": cmsghdr.level,
    "offsetof(struct cmsghdr, cmsg_type)": cmsghdr.type,
    "CMSG_LEN(0)": cmsghdr.data,
    "CMSG_LEN(sizeof(int))": cmsghdr.lenOfInt,
    "CMSG_SPACE(sizeof(int))": cmsghdr.space,
    "offsetof(struct sockaddr_un, sun_family)": sockaddrUn.family,
    "offsetof(struct sockaddr_un, sun_path)": sockaddrUn.path,
    "sizeof(((struct sockaddr_un *)0)->sun_path)": sockaddrUn.pathSize,
    "sizeof(struct sockaddr_un)": sockaddrUn.size,
    "offsetof(struct pollfd, fd)": pollfd.fd,
    "offsetof(struct pollfd, events)": pollfd.events,
    "offsetof(struct pollfd, revents)": pollfd.revents,
    "sizeof(struct pollfd)": pollfd.size,
    "offsetof(struct rlimit, rlim_cur)": rlimit.soft,
    "offsetof(struct rlimit, rlim_max)": rlimit.hard,
    "sizeof(struct rlimit)": rlimit.size,
    "offsetof(struct sockaddr_in, sin_family)": sockaddrIn.family,
    "offsetof(struct sockaddr_in, sin_port)": sockaddrIn.port,
    "offsetof(struct sockaddr_in, sin_addr)": sockaddrIn.address,
    "sizeof(struct sockaddr_in)": sockaddrIn.size,
    "offsetof(struct sockaddr_in6, sin6_family)": sockaddrIn6.family,
    "offsetof(struct sockaddr_in6, sin6_port)": sockaddrIn6.port,
    "offsetof(struct sockaddr_in6, sin6_addr)": sockaddrIn6.address,
    "sizeof(struct sockaddr_in6)": sockaddrIn6.size,
    "offsetof(struct timespec, tv_sec)": timespec.seconds,
    "offsetof(struct timespec, tv_nsec)": timespec.nanoseconds,
    "sizeof(struct timespec)": timespec.size,
    "offsetof(struct open_how, flags)": openHow.flags,
    "offsetof(struct open_how, mode)": openHow.mode,
    "offsetof(struct open_how, resolve)": openHow.resolve,
    "sizeof(struct open_how)": openHow.size,
    "offsetof(struct statx, stx_mask)": statx.mask,
    "offsetof(struct statx, stx_mnt_id)": statx.mountId,
    "offsetof(struct statx, stx_mode)": statx.mode,
    "offsetof(struct statx, stx_blocks)": statx.blocks,
    "offsetof(struct statx, stx_mtime.tv_sec)": statx.mtimeSeconds,
    "offsetof(struct statx, stx_mtime.tv_nsec)": statx.mtimeNanoseconds,
    "offsetof(struct statx, stx_dev_major)": statx.deviceMajor,
    "offsetof(struct statx, stx_dev_minor)": statx.deviceMinor,
    "sizeof(struct statx)": statx.size,
    "offsetof(struct statfs, f_type)": statfs.type,
    "sizeof(struct statfs)": statfs.size,
    "offsetof(struct passwd, pw_name)": passwd.name,
    "offsetof(struct passwd, pw_uid)": passwd.uid,
    "offsetof(struct passwd, pw_gid)": passwd.gid,
    "offsetof(struct passwd, pw_dir)": passwd.dir,
    "offsetof(struct passwd, pw_shell)": passwd.shell,
  });
});

test("constants are those of the C headers", async () => {
  // PIDFD_SIGNAL_PROCESS_GROUP is younger than the headers of many systems (Linux 6.9).
  const { PIDFD_SIGNAL_PROCESS_GROUP, ...known } = layout.C;
  expect(PIDFD_SIGNAL_PROCESS_GROUP).toBe(4);
  // The headers write the names of system calls in small letters.
  const named = Object.entries(known).map(([name, value]) => {
    return [name.replace(/^SYS_.*/, (call) => `SYS_${call.slice(4).toLowerCase()}`), value];
  });
  await expectSame({ ...Object.fromEntries(named), ...signals });
});

test("error numbers have the names that the C headers give them", async () => {
  const known: Record<string, number> = { ...errnos };
  for (let number = 1; number <= 133; number += 1) {
    const name = errnoName(number);
    if (name.startsWith("E")) known[name] = number;
  }
  expect(Object.keys(known).length).toBeGreaterThan(40);
  await expectSame(known);
});

test("an error number without a name is shown as a number", () => {
  expect(errnoName(4095)).toBe("errno 4095");
});
