/**
 * The launch command: what a process is before its program runs, and what is said when it cannot.
 */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, writeFileSync, chmodSync } from "node:fs";
import { join } from "node:path";

import { identityOf, open } from "../../src/native/fd.ts";
import { findUser, resources } from "../../src/native/process.ts";
import { receive, socketPair } from "../../src/native/socket.ts";
import { launchCommand, launcherCommand, type LaunchPlan } from "../../src/spawn/launch-plan.ts";
import { launchVariable } from "../../src/spawn/launch-variable.ts";
import { ascii, fromText } from "../../src/wire/bytes.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

interface Outcome {
  readonly status: number;
  /** As latin1. */
  readonly output: string;
}

/** Launches and waits for the end; stdout and stderr together. */
async function launch(
  changed: Partial<LaunchPlan> & Pick<LaunchPlan, "argv">,
  more: Readonly<Record<string, string>> = {},
  before: readonly string[] = [],
): Promise<Outcome> {
  const plan: LaunchPlan = { variables: [], isInstance: false, ...changed };
  const { argv, env } = launchCommand(plan);
  const output = `${temporaryDirectory()}/output`;
  const file = Bun.file(output);
  const child = Bun.spawn([...before, ...argv], {
    env: { ...env, ...more },
    stdio: ["ignore", file, file],
  });
  const status = await child.exited;
  return { status, output: readFileSync(output, "latin1") };
}

const shell = (script: string) => [ascii("sh"), ascii("-c"), fromText(script)];

test("becomes the program: same process, its arguments byte for byte", async () => {
  const argv = [ascii("printf"), ascii("%s"), ascii("a\xff\xfe b\n")];
  expect(await launch({ argv })).toEqual({ status: 0, output: "a\xff\xfe b\n" });
});

test("passes the program's exit status on", async () => {
  expect((await launch({ argv: shell("exit 42") })).status).toBe(42);
});

test("enters a directory whose name is no UTF-8", async () => {
  const directory = ascii(`${temporaryDirectory()}/\xff dir`);
  mkdirSync(Buffer.from(directory, "latin1"));
  const { output } = await launch({ argv: shell("pwd"), directory: { path: directory } });
  expect(output).toBe(`${directory}\n`);
});

test("enters the directory it was told of, not another that has got its name", async () => {
  const path = fromText(join(temporaryDirectory(), "app"));
  mkdirSync(path);
  using held = open(path, "directory");
  const directory = { path, identity: identityOf(held.number) };
  const argv = shell("echo entered");
  expect((await launch({ argv, directory })).output).toBe("entered\n");
  renameSync(path, `${path}.old`);
  mkdirSync(path);
  const { status, output } = await launch({ argv, directory });
  expect(status).toBe(126);
  expect(output).toContain("it is not the directory that it was a moment ago");
});

test("adds and replaces variables, byte for byte", async () => {
  const variables = [ascii("PLAN_A=\xff"), ascii("PLAN_B=two = 2"), ascii("HOME=/plan")];
  const argv = shell('printf "%s|%s|%s" "$PLAN_A" "$PLAN_B" "$HOME"');
  expect((await launch({ argv, variables })).output).toBe("\xff|two = 2|/plan");
});

test("passes inherited variables on that are no UTF-8", async () => {
  const script = `${temporaryDirectory()}/parent.ts`;
  const source = `${import.meta.dir}/../../src`;
  writeFileSync(
    script,
    `import { launchCommand } from "${source}/spawn/launch-plan.ts";
     const plan = { argv: ["sh", "-c", 'printf %s "$RAW"'], variables: [], isInstance: false };
     const { argv, env } = launchCommand(plan);
     await Bun.spawn(argv, { env, stdio: ["ignore", "inherit", "inherit"] }).exited;`,
  );
  const argv = [ascii(process.execPath), ascii(script)];
  const { output } = await launch({ argv, variables: [ascii("RAW=a\xffb")] });
  expect(output).toBe("a\xffb");
});

test("removes what belongs to us or to our supervisor, and the plan", async () => {
  const removed = {
    BUN_OPTIONS: "--smol",
    NOTIFY_SOCKET: "/run/notify",
    LISTEN_PID: "1",
    LISTEN_FDS: "2",
    LISTEN_FDNAMES: "a:b",
    NODE_CHANNEL_FD: "9",
  };
  const { output } = await launch({ argv: [ascii("env")] }, removed);
  for (const name of [...Object.keys(removed), "BUN_BE_BUN", launchVariable]) {
    expect(output).not.toContain(`${name}=`);
  }
  expect(output).toContain("PATH=");
});

test("lets a plan set again what is not inherited", async () => {
  const variables = [ascii("BUN_BE_BUN=1")];
  expect((await launch({ argv: [ascii("env")], variables })).output).toContain("BUN_BE_BUN=1\n");
});

test("sets limits", async () => {
  const limits = [[resources.openFiles, 77, 777]] as const;
  const argv = shell("ulimit -Sn; ulimit -Hn");
  expect((await launch({ argv, limits })).output).toBe("77\n777\n");
});

test("keeps the session of a spawn server, gives an instance its own", async () => {
  const group = shell("ps -o sid= -p $$; echo $$");
  const server = (await launch({ argv: group })).output.trim().split(/\s+/);
  expect(server[0]).not.toBe(server[1]);
  const [ours, theirs] = socketPair();
  using end = theirs;
  using other = ours;
  void [end, other];
  const instance = (await launch({ argv: group, isInstance: true })).output.trim().split(/\s+/);
  expect(instance[0]).toBe(instance[1]);
});

test("forbids an instance new privileges, and only an instance", async () => {
  const argv = shell("grep NoNewPrivs /proc/$$/status");
  expect((await launch({ argv })).output).toBe("NoNewPrivs:\t0\n");
  expect((await launch({ argv, isInstance: true })).output).toBe("NoNewPrivs:\t1\n");
});

test("has it not preempt who wakes it, if that is asked for and nobody has chosen otherwise", async () => {
  const argv = shell("chrt -p $$");
  expect((await launch({ argv, isInstance: true })).output).toContain("SCHED_OTHER");
  const plan = { argv, isInstance: true, isBatch: true };
  expect((await launch(plan)).output).toContain("SCHED_BATCH");
  const idle = await launch(plan, {}, ["chrt", "-i", "0"]);
  expect(idle.output).toContain("SCHED_IDLE");
});

test("becomes the user wholly: ids, groups, HOME, USER, LOGNAME and SHELL", async () => {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  const argv = shell('id -u; id -ru; id -g; id -G; echo "$HOME|$USER|$LOGNAME|$SHELL"');
  const { output } = await launch({ argv, user });
  const { uid, gid, home, name, shell: loginShell } = user;
  expect(output).toBe(`${uid}\n${uid}\n${gid}\n${gid}\n${home}|${name}|${name}|${loginShell}\n`);
});

test("looks the program up as the user it becomes", async () => {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  const [closed, opened] = [`${temporaryDirectory()}/closed`, `${temporaryDirectory()}/open`];
  for (const directory of [closed, opened]) {
    mkdirSync(directory);
    writeFileSync(`${directory}/tool`, `#!/bin/sh\necho ${directory}\n`, { mode: 0o755 });
  }
  chmodSync(closed, 0o700);
  const variables = [ascii(`PATH=${closed}:${opened}`)];
  const { output } = await launch({ argv: [ascii("tool")], user, variables });
  expect(output).toBe(`${opened}\n`);
});

test("runs a script without a #! line with sh, as execvp does", async () => {
  const script = `${temporaryDirectory()}/script`;
  writeFileSync(script, 'echo "$0 $1"\n', { mode: 0o755 });
  const { output } = await launch({ argv: [ascii(script), ascii("argument")] });
  expect(output).toBe(`${script} argument\n`);
});

const failures: readonly [
  string,
  Partial<LaunchPlan> & Pick<LaunchPlan, "argv">,
  number,
  RegExp,
][] = [
  [
    "an unknown program",
    { argv: [ascii("no-such")] },
    127,
    /cannot find 'no-such' on PATH .*ENOENT/,
  ],
  ["no such file", { argv: [ascii("/no/such")] }, 127, /execve on \/no\/such: ENOENT/],
  ["a file that is no program", { argv: [ascii("/etc/passwd")] }, 126, /EACCES/],
  ["a directory", { argv: [ascii("/etc")] }, 126, /EACCES/],
  ["no name", { argv: [] }, 126, /a program without a name/],
  [
    "a directory that is not there",
    { argv: [ascii("true")], directory: { path: fromText("/no/sü") } },
    127,
    /cannot enter '\/no\/s\u00c3\u00bc': ENOENT/,
  ],
];

test.each(failures)(
  "says in one sentence that it cannot launch %s",
  async (_, plan, status, why) => {
    const outcome = await launch(plan);
    expect(outcome.status).toBe(status);
    expect(outcome.output).toMatch(why);
    expect(outcome.output.trimEnd()).not.toContain("\n");
  },
);

test("says who may not enter the directory", async () => {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  const directory = fromText(temporaryDirectory());
  chmodSync(directory, 0o700);
  const { status, output } = await launch({
    argv: shell("true"),
    directory: { path: directory },
    user,
  });
  expect(status).toBe(126);
  expect(output).toContain(`cannot enter '${directory}' as nobody: EACCES`);
});

test("tells an instance's failure on its lifeline, too", async () => {
  const [ours, theirs] = socketPair();
  using lifeline = ours;
  const plan: LaunchPlan = { argv: [ascii("no-such")], variables: [], isInstance: true };
  const { argv, env } = launchCommand(plan);
  const child = Bun.spawn(argv, {
    env,
    stdio: ["ignore", "ignore", "ignore", theirs.number, theirs.number],
  });
  theirs.close();
  expect(await child.exited).toBe(127);
  const said = receive(lifeline.number, 60_000);
  if (typeof said === "string") throw new Error(said);
  const decoder = new Decoder();
  decoder.push(said);
  expect(decoder.nextArray()?.join()).toBe("error_page");
  const text = Buffer.from(decoder.nextScalar(10_000) ?? []).toString();
  expect(text).toStartWith("launching 'no-such': cannot find 'no-such' on PATH");
});

test("shows nothing of the plan in argv", () => {
  const plan = { argv: shell("true"), variables: [ascii("SECRET=hush")], isInstance: true };
  const { argv, env } = launchCommand(plan);
  expect(argv.join(" ")).not.toContain("hush");
  expect(JSON.parse(env[launchVariable] ?? "").variables).toEqual([ascii("SECRET=hush")]);
});

test("refuses a plan that is larger than the kernel takes", () => {
  const variables = [ascii(`BIG=${"x".repeat(1_900_000)}`)];
  const plan = { argv: shell("true"), variables, isInstance: true };
  expect(() => launchCommand(plan)).toThrow(/take 19\d{5} bytes, \d+ at most/);
});

test("is told a plan of more than one variable holds, and leaves none of them behind", async () => {
  const variables = ["A", "B", "C", "D"].map((name) => ascii(`${name}=${name.repeat(100_000)}`));
  const script = "echo ${#A} ${#B} ${#C} ${#D}; env | grep -c ^APPLICATION_POOL_LAUNCH";
  const plan = { argv: shell(script), variables, isInstance: false };
  const { argv, env } = launchCommand(plan);
  const child = Bun.spawn(argv, { env, stdio: ["ignore", "pipe", "inherit"] });
  expect(await child.stdout.text()).toBe("100000 100000 100000 100000\n0\n");
});

test("is refused a plan that is none", async () => {
  const [program = "", ...args] = launcherCommand();
  const child = Bun.spawn([program, ...args], {
    env: { [launchVariable]: "{" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  expect(await new Response(child.stderr).text()).toContain("holds no plan");
  expect(await child.exited).toBe(126);
});
