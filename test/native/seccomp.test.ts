/**
 * The fence around what parses HTTP: what it refuses, from every thread, and that the runtime lives
 * inside it. A fence cannot be taken down, so each try is a process of its own.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";

import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const source = (path: string): string => JSON.stringify(join(import.meta.dir, "../../src", path));

/** What a program prints once it has put the fence up; what it tries is an expression each. */
async function fenced(...tries: string[]): Promise<unknown[]> {
  const file = join(temporaryDirectory(), "program.ts");
  await Bun.write(
    file,
    `import { constants } from "node:os";
    import { readFileSync, readdirSync } from "node:fs";
    import { errno, libc } from ${source("native/libc.ts")};
    import { refuseSystemCalls } from ${source("native/seccomp.ts")};
    const before = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: {
      data(socket, bytes) { socket.write(bytes); },
    } });
    /** How a system call ends: its result, or the name of its error. */
    function call(...args) {
      const result = Number(libc.syscall(...args, 0, 0, 0, 0, 0).toString());
      const name = Object.entries(constants.errno).find(([, value]) => value === errno())?.[0];
      return result < 0 ? name : result;
    }
    refuseSystemCalls(3);
    const results = [];
    ${tries.map((one) => `results.push(await (async () => (${one}))());`).join("\n")}
    process.stdout.write(JSON.stringify(results), () => process.exit(0));`,
  );
  const child = Bun.spawn([process.execPath, file], {
    stdio: ["ignore", "pipe", "inherit", "ignore"],
  });
  return (await child.stdout.json()) as unknown[];
}

const isArm = process.arch === "arm64";
/** System calls by number. */
const calls = isArm
  ? {
      kill: 129,
      ptrace: 117,
      execve: 221,
      mount: 40,
      keyctl: 219,
      bpf: 280,
      unshare: 97,
      socket: 198,
    }
  : {
      kill: 62,
      ptrace: 101,
      execve: 59,
      mount: 165,
      keyctl: 250,
      bpf: 321,
      unshare: 272,
      socket: 41,
    };
/** And those of one number everywhere. */
const newCalls = { io_uring_setup: 425, pidfd_open: 434, pidfd_getfd: 438 };

test("what a worker has no use for is refused, whoever it runs as", async () => {
  const { kill: _, ...refused } = { ...calls, ...newCalls };
  const results = await fenced(...Object.values(refused).map((number) => `call(${number})`));
  expect(results).toEqual(Object.values(refused).map(() => "EPERM"));
});

test("other processes cannot be signalled, this one can", async () => {
  const others = [process.pid, 0, -1];
  expect(
    await fenced(
      ...others.map((pid) => `call(${calls.kill}, ${pid}, 0)`),
      `call(${calls.kill}, process.pid, 0)`,
    ),
  ).toEqual(["EPERM", "EPERM", "EPERM", 0]);
});

test("the socket that others share can be neither shut down nor duplicated, others can", async () => {
  const { shutdown, dup, fcntl } = isArm
    ? { shutdown: 210, dup: 23, fcntl: 25 }
    : { shutdown: 48, dup: 32, fcntl: 72 };
  expect(
    await fenced(
      `call(${shutdown}, 3, 2)`,
      `call(${dup}, 3)`,
      `call(${fcntl}, 3, 0, 5)`,
      `call(${fcntl}, 3, 1030, 5)`,
      `call(${fcntl}, 3, 1)`, // F_GETFD
      `call(${shutdown}, 0, 2)`, // no socket, but asked
      `call(${dup}, 0) > 2`,
      `call(${fcntl}, 0, 1030, 5) > 2`,
    ),
  ).toEqual(["EPERM", "EPERM", "EPERM", "EPERM", 1, "ENOTSOCK", true, true]);
});

test("no terminal can be typed into", async () => {
  // Without the fence: ENOTTY, since its standard input is none.
  expect(await fenced("libc.ioctl(0, 0x5412, null) < 0 && errno()")).toEqual([1]);
});

test("no program can be started by the runtime's own ways, and nothing be listened on", async () => {
  const attempts = [
    'Bun.spawnSync(["true"])',
    'Bun.connect({ hostname: "127.0.0.1", port: before.port, socket: { data() {} } })',
    'Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })',
    'fetch("http://127.0.0.1:" + before.port)',
  ];
  const results = await fenced(
    ...attempts.map((one) => `Promise.try(() => ${one}).then(() => "done", () => "refused")`),
  );
  expect(results).toEqual(attempts.map(() => "refused"));
});

test("all threads are inside it, those that come later too", async () => {
  // A thread may end while they are gone through.
  const states = `readdirSync("/proc/self/task").flatMap((task) => {
    try {
      const status = readFileSync("/proc/self/task/" + task + "/status", "latin1");
      return [/Seccomp:\\t(\\d)/.exec(status)?.[1]];
    } catch {
      return [];
    }
  })`;
  const worker = `new Promise((resolve) => {
    const worker = new Worker("data:text/javascript,postMessage(1 + 1)");
    worker.onmessage = ({ data }) => resolve(data);
  })`;
  const [before, answer, after] = await fenced(states, worker, states);
  expect(new Set(before as string[])).toEqual(new Set(["2"]));
  expect(answer).toBe(2);
  expect(new Set(after as string[])).toEqual(new Set(["2"]));
});

test("the compiler, the collector, files and timers work inside it", async () => {
  expect(
    await fenced(
      "(() => { let sum = 0; for (let i = 0; i < 5e6; i += 1) sum += i % 7; return sum; })()",
      "(() => { let all = []; for (let i = 0; i < 1e6; i += 1) all.push({ i });" +
        " all = null; Bun.gc(true); return 1; })()",
      'Bun.file("/proc/self/comm").text().then((text) => text.length > 1)',
      'require("node:fs/promises").readFile("/proc/self/comm").then((bytes) => bytes.length > 1)',
      "Bun.sleep(1).then(() => 1)",
      'crypto.subtle.digest("SHA-256", new Uint8Array(1)).then((hash) => hash.byteLength)',
    ),
  ).toEqual([14_999_995, 1, true, true, 1, 32]);
});
