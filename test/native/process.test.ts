/**
 * Processes, users and limits against the real kernel; what one can only do to oneself is done in a
 * child.
 */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import {
  execute,
  findUser,
  findUserById,
  getDescriptorLimit,
  sendSignal,
  setDescriptorLimit,
  signals,
} from "../../src/native/process.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { errorCode, errorOf } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

const steps = join(import.meta.dir, "../helpers/process-steps.ts");
const isRoot = process.geteuid?.() === 0;

/** Runs the steps in a child, through `wrapper` if one is given. */
function take(list: readonly string[], wrapper: readonly string[] = []) {
  const run = Bun.spawnSync([...wrapper, process.execPath, steps, ...list]);
  const { exitCode, signalCode } = run;
  const [stdout, stderr] = [run.stdout.toString(), run.stderr.toString()];
  return { exitCode, signalCode, stdout, stderr };
}

/** The lines of /proc/self/status of the program that a child became after its steps. */
function statusAfter(list: readonly string[], wrapper: readonly string[] = []) {
  const { stdout, stderr } = take([...list, "execute:/bin/cat cat /proc/self/status"], wrapper);
  if (stderr !== "") throw new Error(stderr);
  const lines = stdout.split("\n").map((line) => line.split(":\t") as [string, string]);
  return Object.fromEntries(lines);
}

/** The entries of the user database, by name. */
function passwdFile() {
  const lines = readFileSync("/etc/passwd", "utf8").trim().split("\n");
  return lines.map((line) => {
    const [name = "", , uid, gid, , home = "", shell = ""] = line.split(":");
    return { name, uid: Number(uid), gid: Number(gid), home, shell };
  });
}

test("the descriptor limit is the one that the kernel shows", () => {
  const line = /^Max open files\s+(\d+)\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
  const { soft, hard } = getDescriptorLimit();
  expect([String(soft), String(hard)]).toEqual([line?.[1] ?? "", line?.[2] ?? ""]);
});

test("the descriptor limit can be lowered and given back", () => {
  const original = getDescriptorLimit();
  setDescriptorLimit({ soft: original.soft - 1n, hard: original.hard });
  expect(getDescriptorLimit().soft).toBe(original.soft - 1n);
  setDescriptorLimit(original);
  expect(getDescriptorLimit()).toEqual(original);
});

test("a soft limit above the hard one is EINVAL, one that nobody may have is EPERM", () => {
  const { hard } = getDescriptorLimit();
  expect(errorCode(() => setDescriptorLimit({ soft: hard + 1n, hard }))).toBe("EINVAL");
  const endless = 2n ** 64n - 1n;
  expect(errorCode(() => setDescriptorLimit({ soft: endless, hard: endless }))).toBe("EPERM");
});

test("finds every user of the database by name and by number", () => {
  const users = passwdFile();
  expect(users.length).toBeGreaterThan(2);
  for (const user of users) expect(findUser(user.name)).toEqual(user);
  const firstOfEachUid = new Map(users.toReversed().map((user) => [user.uid, user]));
  for (const [uid, user] of firstOfEachUid) expect(findUserById(uid)).toEqual(user);
});

test("a user who does not exist is not found", () => {
  expect(findUser("nobody-by-that-name")).toBeUndefined();
  expect(findUserById(4_000_000_000)).toBeUndefined();
});

test("looking users up stays right over many lookups and collections of garbage", () => {
  const expected = passwdFile().find(({ uid }) => uid === 0);
  let wrong = 0;
  for (let round = 0; round < 2000; round += 1) {
    if (findUser("root")?.home !== expected?.home || findUserById(0)?.name !== "root") wrong += 1;
    if (round % 500 === 0) Bun.gc(true);
  }
  expect(wrong).toBe(0);
});

test("a signal reaches its process, and a process that is gone is told by false", async () => {
  const child = Bun.spawn(["sleep", "60"], { stdout: "ignore" });
  expect(sendSignal(child.pid, 0)).toBe(true);
  expect(sendSignal(child.pid, signals.SIGTERM)).toBe(true);
  await child.exited;
  expect(child.signalCode).toBe("SIGTERM");
  expect(sendSignal(child.pid, 0)).toBe(false);
});

test("another user's process may not be signalled: EPERM, where the server is not root", () => {
  const list = [...(isRoot ? ["user:nobody"] : []), "signal:1"];
  expect(take(list).stderr).toBe("kill on process 1: EPERM\n");
});

test("becomes another user for good, with his groups and no others; only root may", () => {
  const nobody = findUser("nobody");
  if (nobody === undefined) throw new Error("this system has no user nobody");
  if (!isRoot) {
    expect(take(["user:nobody"]).stderr).toBe("initgroups on user nobody: EPERM\n");
    return;
  }
  const status = statusAfter(["user:nobody"]);
  // Real, effective, saved and file system id.
  expect(status["Uid"]?.split("\t")).toEqual(Array(4).fill(String(nobody.uid)));
  expect(status["Gid"]?.split("\t")).toEqual(Array(4).fill(String(nobody.gid)));
  expect(status["Groups"]?.trim()).toBe(String(nobody.gid));
  expect(status["CapEff"]).toBe("0000000000000000");
  expect(take(["user:nobody", "user:root"]).stderr).toBe("initgroups on user root: EPERM\n");
});

test("forbids new privileges to whatever program comes next", () => {
  expect(statusAfter([])["NoNewPrivs"]).toBe("0");
  expect(statusAfter(["no-new-privileges"])["NoNewPrivs"]).toBe("1");
});

/** Process id, group, session and terminal of the program that a child became after its steps. */
function sessionAfter(list: readonly string[]): string[] {
  const stat = take([...list, "execute:/bin/cat cat /proc/self/stat"]).stdout.split(" ");
  return [stat[0], stat[4], stat[5], stat[6]].map(String);
}

test("becomes the leader of a session of its own, without a terminal", () => {
  const [pid, ...own] = sessionAfter(["session"]);
  expect(own).toEqual([String(pid), String(pid), "0"]);
  const [other, , inherited] = sessionAfter([]);
  expect(inherited).not.toBe(other);
});

test("gives the next program default signals and an empty mask, whatever was inherited", () => {
  const wrapper = ["env", "--ignore-signal=INT,HUP,PIPE", "--block-signal=USR2,TERM"];
  const before = statusAfter([], wrapper);
  expect(before["SigBlk"]).not.toBe("0000000000000000");
  expect(before["SigIgn"]).not.toBe("0000000000000000");
  const after = statusAfter(["reset-signals"], wrapper);
  expect(after["SigBlk"]).toBe("0000000000000000");
  expect(after["SigIgn"]).toBe("0000000000000000");
});

test("a signal that is ignored stays so in the next program", () => {
  const status = statusAfter(["ignore:10"]);
  expect(BigInt(`0x${status["SigIgn"]}`) & (1n << 9n)).toBe(1n << 9n);
});

test("hands the next program the limit it set", () => {
  const { stdout } = take(["limit:77", "execute:/bin/cat cat /proc/self/limits"]);
  expect(/^Max open files\s+(\d+)\s+(\d+)/m.exec(stdout)?.slice(1)).toEqual(["77", "77"]);
});

test("changes to a directory whose name is any bytes, and names the one it cannot enter", () => {
  const path = Buffer.from(`${temporaryDirectory()}/\xff \xe9`, "latin1");
  mkdirSync(path);
  const hex = path.toString("hex");
  const { stdout } = take([`directory:${hex}`, "execute:/bin/readlink readlink /proc/self/cwd"]);
  // readlink's own output, taken as UTF-8 by us, has lost the bytes: the kernel's answer has not.
  expect(stdout).toStartWith(path.toString("utf8"));
  const absent = Buffer.from("/no/such").toString("hex");
  expect(take([`directory:${absent}`]).stderr).toBe("chdir on /no/such: ENOENT\n");
});

test("the next program gets the arguments and the environment that were given, byte for byte", async () => {
  const directory = temporaryDirectory();
  const script = join(directory, "become.ts");
  const source = `
    import { execute } from ${JSON.stringify(join(import.meta.dir, "../../src/native/process.ts"))};
    const environment = ["A=\\xff", "B=", "LONG=" + "x".repeat(100_000)];
    for (let i = 0; i < 12; i += 1) environment.push("MORE" + i + "=" + "y".repeat(100_000));
    execute(process.argv[2], ["name \\xfe", "", "-c", "x"], environment);
  `;
  writeFileSync(script, source);
  const out = join(directory, "out");
  const program = join(directory, "show");
  writeFileSync(
    program,
    `#!/bin/sh\ncat /proc/$$/environ > ${out}.env; cat /proc/$$/cmdline > ${out}.args\n`,
    { mode: 0o755 },
  );
  const run = Bun.spawnSync([process.execPath, script, program]);
  expect(run.stderr.toString()).toBe("");
  const environment = readFileSync(`${out}.env`, "latin1").split("\0").slice(0, -1);
  expect(environment.length).toBe(15);
  expect(environment.slice(0, 2)).toEqual(["A=\xff", "B="]);
  expect(environment.at(-1)).toBe(`MORE11=${"y".repeat(100_000)}`);
  const args = readFileSync(`${out}.args`, "latin1").split("\0").slice(0, -1);
  // The kernel puts the interpreter and the file in the place of the first argument (execve(2)).
  expect(args).toEqual(["/bin/sh", program, "", "-c", "x"]);
});

/** Why a file cannot be executed. */
function cause(path: string): string {
  return errorCode(() => execute(path, ["x"], []));
}

test("a program that cannot be executed is an error with its cause", () => {
  const directory = temporaryDirectory();
  writeFileSync(`${directory}/plain`, "no program", { mode: 0o644 });
  writeFileSync(`${directory}/empty`, "\x01\x02", { mode: 0o755 });
  expect(cause(`${directory}/absent`)).toBe("ENOENT");
  expect(cause(`${directory}/plain`)).toBe("EACCES");
  expect(cause(`${directory}/empty`)).toBe("ENOEXEC");
  expect(cause(`${directory}/plain/below`)).toBe("ENOTDIR");
  const tooLong = "x".repeat(128 * 1024);
  expect(errorCode(() => execute("/bin/true", ["x", tooLong], []))).toBe("E2BIG");
  expect(errorOf(() => execute("/bin/true", ["a\0b"], [])).message).toContain("NUL");
});
