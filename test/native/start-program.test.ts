/** Programs started by the server itself: what they find, and what runs when they cannot be had. */
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { identityOf, open } from "../../src/native/fd.ts";
import { findUser, resources, sendSignal, signals } from "../../src/native/process.ts";
import { startProgram, takeEnd, type DirectStart } from "../../src/native/start-program.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

const source = `${import.meta.dir}/../../src/native/start-program.ts`;
const environment = ["PATH=/usr/bin:/bin", "RAW=\xff\xfe"];

/** The launch command's place is taken by a shell that says so. */
const launcher = {
  argv: ["/bin/sh", "-c", "echo launcher; exit 9"],
  environment: [...environment, "PLAN=1"],
};

const failure = Buffer.from("failure: ????????????????");

function shell(script: string): DirectStart {
  return { failure, argv: ["sh", "-c", script], environment, places: ["/bin/sh"], launcher };
}

/** Starts it and waits for its end. @returns its status and what it wrote to 1, 2, 3 and 4. */
async function run(start: DirectStart): Promise<{ status: number; output: string }> {
  const path = join(temporaryDirectory(), "output");
  using file = open(path, "create");
  const { number } = file;
  const pid = startProgram(start, [number, number, number, number]);
  if (pid === undefined) throw new Error("it was not started");
  const { status } = await until("it has ended", () => {
    const ended = takeEnd(pid);
    return ended !== undefined && { status: ended };
  });
  return { status, output: readFileSync(path, "latin1") };
}

test("it has five descriptors: /dev/null, and those that it was given", async () => {
  const script = `readlink /proc/self/fd/0
    for fd in $(seq 0 200); do test ! -e /proc/$$/fd/$fd || echo $fd; done`;
  expect((await run(shell(script))).output).toBe("/dev/null\n0\n1\n2\n3\n4\n");
});

test("descriptors with numbers that are given out get where they belong", async () => {
  const script = `
    const { startProgram, takeEnd } = await import("${source}");
    const argv = ["sh", "-c", "echo one; echo four >&4"];
    const failure = new Uint8Array(16);
    const program = { argv, environment: [], places: ["/bin/sh"], failure };
    const pid = startProgram({ ...program, launcher: program }, [2, 1, 0, 1]);
    while (takeEnd(pid) === undefined) await Bun.sleep(5);`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [one, four] = [await child.stdout.text(), await child.stderr.text()];
  expect({ one, four }).toEqual({ one: "four\n", four: "one\n" });
});

test("arguments and variables reach it byte for byte, and nothing else", async () => {
  const start = { ...shell('printf "%s|%s" "$0" "$RAW"'), environment };
  const argv = [...start.argv, "a\xff b"];
  expect((await run({ ...start, argv })).output).toBe("a\xff b|\xff\xfe");
  const { output } = await run({ ...start, argv: ["env"], places: ["/usr/bin/env"] });
  expect(output).toBe("PATH=/usr/bin:/bin\nRAW=\xff\xfe\n");
});

test("it leads a session of its own", async () => {
  const { output } = await run(shell("ps -o sid= -p $$; echo $$"));
  const [session, pid] = output.trim().split(/\s+/);
  expect(session).toBe(pid);
});

test("it gains no privileges, and no signal is blocked or ignored", async () => {
  const argv = ["grep", "-E", "^(NoNewPrivs|SigBlk|SigIgn)", "/proc/self/status"];
  const { output } = await run({ ...shell(""), argv, places: ["/bin/grep"] });
  const none = "0".repeat(16);
  const lines = output.trimEnd().split("\n").toSorted();
  expect(lines).toEqual(["NoNewPrivs:\t1", `SigBlk:\t${none}`, `SigIgn:\t${none}`]);
});

test("it does not preempt who wakes it, if that is asked for and nobody has chosen otherwise", async () => {
  const start = shell("chrt -p $$");
  expect((await run(start)).output).toContain("SCHED_OTHER");
  expect((await run({ ...start, isBatch: true })).output).toContain("SCHED_BATCH");
  const script = `
    const { startProgram, takeEnd } = await import("${source}");
    const failure = new Uint8Array(16);
    const argv = ["sh", "-c", "/usr/bin/chrt -p $$"];
    const program = { argv, environment: [], places: ["/bin/sh"], failure, isBatch: true };
    const pid = startProgram({ ...program, launcher: program }, [1, 2, 1, 1]);
    while (takeEnd(pid) === undefined) await Bun.sleep(5);`;
  const child = Bun.spawn(["chrt", "-i", "0", process.execPath, "-e", script]);
  expect(await child.stdout.text()).toContain("SCHED_IDLE");
});

test("its limit, directory and umask are as they were asked for", async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "inner"));
  using held = open(directory, "directory");
  const { output } = await run({
    ...shell("ulimit -Sn; ulimit -Hn; umask; pwd"),
    limits: [[resources.openFiles, 77, 777]],
    directory: { path: directory, identity: identityOf(held.number) },
    cwd: `${directory}/inner`,
    umask: 0o27,
  });
  expect(output).toBe(`77\n777\n0027\n${directory}/inner\n`);
});

test("it becomes the user wholly: ids and groups", async () => {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  const { output } = await run({ ...shell("id -u; id -ru; id -g; id -G"), user });
  expect(output).toBe(`${user.uid}\n${user.uid}\n${user.gid}\n${user.gid}\n`);
});

test("the first place with such a program counts", async () => {
  const places = ["/nowhere/sh", "/etc/passwd/sh", "/dev/null", "/bin/sh"];
  expect(await run({ ...shell("echo it"), places })).toEqual({ status: 0, output: "it\n" });
});

const refused: [string, (directory: string) => Partial<DirectStart>][] = [
  ["the program is nowhere", () => ({ places: ["/nowhere/sh"] })],
  ["there is no place to look", () => ({ places: [] })],
  [
    "the first that may be executed is no program",
    (directory) => {
      writeFileSync(join(directory, "script"), "echo script\n", { mode: 0o755 });
      return { places: [join(directory, "script"), "/bin/sh"] };
    },
  ],
  ["its directory is not there", () => ({ directory: { path: "/nowhere" } })],
  ["it cannot go on from there", () => ({ cwd: "/nowhere" })],
  ["its hard limit is below its soft one", () => ({ limits: [[resources.openFiles, 9, 8]] })],
  [
    "its directory is another than it was",
    (directory) => {
      const path = join(directory, "app");
      mkdirSync(path);
      using held = open(path, "directory");
      const identity = identityOf(held.number);
      renameSync(path, `${path}.old`);
      mkdirSync(path);
      return { directory: { path, identity } };
    },
  ],
];

test.each(refused)("the launch command runs instead where %s", async (_, change) => {
  const start = { ...shell("echo program"), ...change(temporaryDirectory()) };
  expect(await run(start)).toEqual({ status: 9, output: "launcher\n" });
});

test("what keeps even that from running is said on the last descriptor", async () => {
  const nowhere = { ...shell(""), places: [], launcher: { argv: ["/dev/null"], environment } };
  expect(await run(nowhere)).toEqual({ status: 127, output: "failure: EACCES??????????" });
});

test("what keeps its descriptors from their places is said on the last of those it was given", async () => {
  const script = `
    const { prepareStarts, startProgram, takeEnd } = await import("${source}");
    const process = await import("${join(source, "../process.ts")}");
    prepareStarts();
    const failure = new TextEncoder().encode("failure: ????????????????");
    const program = { argv: ["sh"], environment: [], places: ["/bin/sh"], failure };
    const limit = process.getDescriptorLimit();
    process.setDescriptorLimit({ ...limit, soft: 5n });
    const pid = startProgram({ ...program, launcher: program }, [2, 1, 0, 1]);
    process.setDescriptorLimit(limit);
    while (takeEnd(pid) === undefined) await Bun.sleep(5);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdio: ["ignore", "pipe", "pipe"] });
  const said = [await child.stdout.text(), await child.stderr.text()];
  expect(said).toEqual(["failure: EINVAL??????????", ""]);
});

test("what no string can hold is not started, nor what is too long", () => {
  for (const variable of ["A=\0", "A=".padEnd(2 ** 20, "a")]) {
    const start = { ...shell(""), environment: [variable] };
    expect(startProgram(start, [2, 2, 2, 2])).toBeUndefined();
  }
});

test("an environment of 100 KB reaches it", async () => {
  const large = Array.from({ length: 100 }, (_, number) => `V${number}=`.padEnd(1_000, "a"));
  const { output } = await run({ ...shell("env | grep -c aaa"), environment: large });
  expect(output).toBe("100\n");
});

test("the server's heap is not copied for it: writing to that again costs no faults", async () => {
  const pageBytes = 4096;
  const memory = Array.from({ length: 64 }, () => new Uint8Array(64 * pageBytes));
  const write = () => {
    for (const part of memory) {
      for (let at = 0; at < part.length; at += pageBytes) part[at] = (part[at] ?? 0) + 1;
    }
  };
  write();
  const before = process.resourceUsage().minorPageFault;
  const pid = startProgram(shell("exit 3"), [2, 2, 2, 2]);
  write();
  const faults = process.resourceUsage().minorPageFault - before;
  const status = await until("it has ended", () => {
    const ended = pid === undefined ? 0 : takeEnd(pid);
    return ended !== undefined && { ended };
  });
  expect(status).toEqual({ ended: 3 });
  // Some are another thread's. A copied heap makes one for each page, 4,096.
  expect(faults).toBeLessThan((memory.length * 64) / 8);
});

test("its end is an exit code, or a signal", async () => {
  expect((await run(shell("exit 42"))).status).toBe(42);
  expect((await run(shell("kill -TERM $$"))).status).toBe(-signals.SIGTERM);
});

test("a signal that comes to it before its program runs runs nothing of the server's", async () => {
  let received = 0;
  const count = () => (received += 1);
  process.on("SIGUSR2", count);
  try {
    for (let start = 0; start < 20; start += 1) {
      using nothing = open("/dev/null", "read");
      const { number } = nothing;
      const pid = startProgram(shell("sleep 10"), [number, number, number, number]);
      if (pid === undefined) throw new Error("it was not started");
      sendSignal(pid, signals.SIGUSR2);
      const { status } = await until("it has ended", () => {
        const ended = takeEnd(pid);
        return ended !== undefined && { status: ended };
      });
      expect(status).toBe(-signals.SIGUSR2);
    }
    expect(received).toBe(0);
  } finally {
    process.off("SIGUSR2", count);
  }
});

test("the compiler leaves nothing in the directory for temporary files", async () => {
  const directory = temporaryDirectory();
  const script = `
    const { prepareStarts } = await import("${source}");
    prepareStarts();`;
  const env = { PATH: process.env["PATH"], TMPDIR: directory };
  const child = Bun.spawn([process.execPath, "-e", script], { env });
  expect(await child.exited).toBe(0);
  expect(readdirSync(directory)).toEqual([]);
});
