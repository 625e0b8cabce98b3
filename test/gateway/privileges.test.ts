/**
 * What workers give up: root, new privileges, and system calls they have no use for. Of users, only
 * root can try.
 */
import { expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { findUser } from "../../src/native/process.ts";
import { until } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { pidOf } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();
const anyPort = "127.0.0.1:0";

/** One line of a process's status (proc(5)). */
function statusOf(pid: number, name: string): string {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
}

/** Ids of a process, real to file system, as /proc shows them. */
function idsOf(pid: number, kind: "Uid" | "Gid" | "Groups"): string[] {
  return statusOf(pid, kind)
    .split(/\s+/)
    .filter((id) => id !== "");
}

/** On a connection of its own: one that is kept would keep a worker. */
async function ask(url: string): Promise<string> {
  return (await fetch(url, { keepalive: false })).text();
}

test.skipIf(process.geteuid?.() !== 0)(
  "worker_user: workers have its ids and groups, serve files and requests, and can be reloaded",
  async () => {
    const directory = temporaryDirectory();
    const nobody = findUser("nobody");
    if (nobody === undefined) throw new Error("there is no nobody");
    const app = writeApplication(directory);
    mkdirSync(join(app, "public"));
    writeFileSync(join(app, "public/file.txt"), "a file");
    writeFileSync(join(app, "public/secret.txt"), "root's", { mode: 0o600 });
    mkdirSync(join(directory, "logs"));
    const file = join(directory, "pool.toml");
    writeFileSync(
      file,
      'listen = ["127.0.0.1:0"]\nworker_user = "nobody"\n' +
        '[log]\nlevel = 1\naccess_file = "logs/access.log"\n[[apps]]\nroot = "app"\n',
    );
    const gateway = startGateway(["--config", file]);
    const address = await gateway.address();
    const [worker] = gateway.workers;
    const pid = worker?.pid ?? 0;
    expect(idsOf(pid, "Uid")).toEqual(Array.from({ length: 4 }, () => String(nobody.uid)));
    expect(idsOf(pid, "Gid")).toEqual(Array.from({ length: 4 }, () => String(nobody.gid)));
    expect(idsOf(pid, "Groups")).not.toContain("0");
    expect(await ask(`${address}/path`)).toStartWith("app /path ");
    expect(await ask(`${address}/file.txt`)).toBe("a file");
    // What only root may read is left to the application.
    expect(await ask(`${address}/secret.txt`)).toStartWith("app /secret.txt ");
    gateway.signal("SIGHUP");
    await until("it is reloaded", () => gateway.log.includes("configuration reloaded"));
    await until("the old worker has left", () => gateway.workers.every((one) => one.pid !== pid));
    expect(await ask(`${address}/again`)).toStartWith("app /again ");
    await gateway.end();
    const log = readFileSync(join(directory, "logs/access.log"), "utf8");
    expect(log.split("\n")).toHaveLength(5);
  },
);

test.skipIf(process.geteuid?.() !== 0)(
  "as root, workers are www-data or nobody by default, with nothing of root's left",
  async () => {
    const user = findUser("www-data") ?? findUser("nobody");
    const gateway = startGateway([writeApplication(temporaryDirectory()), "--listen", anyPort]);
    const address = await gateway.address();
    const pid = pidOf(gateway.workers[0]);
    expect(idsOf(pid, "Uid")).toEqual(Array.from({ length: 4 }, () => String(user?.uid)));
    expect(idsOf(pid, "Groups")).not.toContain("0");
    expect(statusOf(pid, "NoNewPrivs")).toBe("1");
    expect(statusOf(pid, "CapEff")).toMatch(/^0+$/);
    expect(await ask(`${address}/path`)).toStartWith("app /path ");
    await gateway.end();
  },
);

test("a log in a directory that is not the workers' is opened anew for them", async () => {
  const directory = temporaryDirectory();
  writeApplication(directory);
  const file = join(directory, "pool.toml");
  mkdirSync(join(directory, "logs"), { mode: 0o700 });
  writeFileSync(
    file,
    `listen = ["${anyPort}"]\nworkers = 2\n[log]\naccess_file = "logs/log"\n` +
      '[[apps]]\nroot = "app"\n',
  );
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  const log = join(directory, "logs/log");
  for (let round = 0; round < 3; round += 1) {
    renameSync(log, `${log}.${round}`);
    gateway.signal("SIGUSR1");
    await until("there is a new file", () => existsSync(log));
    await until("what is asked is logged there", async () => {
      await ask(`${address}/round-${round}`);
      return readFileSync(log, "utf8").split("\n").length > 4;
    });
  }
  // One that cannot be opened changes nothing.
  renameSync(join(directory, "logs"), join(directory, "elsewhere"));
  gateway.signal("SIGUSR1");
  await until("it is said", () => gateway.log.includes("access log not reopened"));
  await ask(`${address}/last`);
  await until("it is in the old file", () =>
    readFileSync(join(directory, "elsewhere/log"), "utf8").includes("/last"),
  );
  await gateway.end();
});

test("workers are inside a fence (seccomp), every thread of them", async () => {
  const gateway = startGateway([writeApplication(temporaryDirectory()), "--listen", anyPort]);
  await ask(await gateway.address());
  const worker = pidOf(gateway.workers[0]);
  const threads = readdirSync(`/proc/${worker}/task`).map(Number);
  expect(threads.length).toBeGreaterThan(1);
  for (const thread of threads) expect(statusOf(thread, "Seccomp")).toBe("2");
  // The pool server starts programs.
  expect(statusOf(pidOf(gateway.poolServer), "Seccomp")).toBe("0");
  expect(gateway.log).not.toContain("fence");
  await gateway.end();
});

test.skipIf(process.geteuid?.() !== 0)(
  "workers do not know the variables of applications",
  async () => {
    const directory = temporaryDirectory();
    writeApplication(directory);
    const file = join(directory, "pool.toml");
    const secret = `${process.pid}-never-to-be-seen`;
    writeFileSync(
      file,
      `listen = ["${anyPort}"]\n[[apps]]\nroot = "app"\n[apps.env]\nPASSWORD = "${secret}"\n`,
    );
    const gateway = startGateway(["--config", file]);
    await ask(await gateway.address());
    expect(memoryHas(pidOf(gateway.poolServer), secret)).toBe(true);
    expect(memoryHas(pidOf(gateway.workers[0]), secret)).toBe(false);
    await gateway.end();
  },
  // JavaScript sets gigabytes aside, and all of them are read.
  120_000,
);

/** Whether a text is anywhere in what a process has written to its memory (proc(5) maps, mem). */
function memoryHas(pid: number, text: string): boolean {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const maps = readFileSync(`/proc/${pid}/maps`, "latin1").matchAll(
    /^([0-9a-f]+)-([0-9a-f]+) rw/gm,
  );
  const piece = Buffer.alloc(1024 * 1024);
  try {
    for (const [, from = "", to = ""] of maps) {
      const end = Number.parseInt(to, 16);
      for (let at = Number.parseInt(from, 16); at < end; at += piece.length - text.length) {
        if (piece.subarray(0, readSomeAt(memory, piece, at, end)).includes(text)) return true;
      }
    }
    return false;
  } finally {
    closeSync(memory);
  }
}

/** @returns how many bytes there are; 0 where there is nothing behind the addresses. */
function readSomeAt(fd: number, into: Buffer, at: number, end: number): number {
  try {
    return readSync(fd, into, 0, Math.min(into.length, end - at), at);
  } catch {
    return 0;
  }
}

/** A kernel without seccomp(2), as far as its children can see. */
const oldKernel = `
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {4, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program)) return 1;
  execv(argv[1], argv + 1);
  return 2;
}
`;

test("a kernel that has no fence is said once, and all is served", async () => {
  const directory = temporaryDirectory();
  const wrapper = join(directory, "old-kernel");
  writeFileSync(`${wrapper}.c`, oldKernel);
  expect(Bun.spawnSync(["cc", "-o", wrapper, `${wrapper}.c`]).success).toBe(true);
  const app = writeApplication(directory);
  const options = ["--listen", anyPort, "--workers", "3"];
  const gateway = startGateway([app, ...options], { wrapper: [wrapper] });
  const address = await gateway.address();
  expect(await ask(`${address}/path`)).toStartWith("app /path ");
  const [first] = gateway.workers;
  process.kill(pidOf(first), "SIGKILL");
  await until("it is replaced", () => {
    return gateway.workers.length === 3 && gateway.workers[0]?.pid !== first?.pid;
  });
  expect(await ask(`${address}/path`)).toStartWith("app /path ");
  await gateway.end();
  expect(gateway.log.split("workers have no fence")).toHaveLength(2);
});
