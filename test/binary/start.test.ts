/**
 * Section 1: command lines and descriptors that make no server: one clear line, and the right
 * status.
 */
import { expect, test } from "bun:test";
import { mkdirSync, openSync, writeFileSync } from "node:fs";

import { commandNames } from "../../src/cli/arguments.ts";
import { libc } from "../../src/native/libc.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { makePipe } from "../../src/native/pipe.ts";
import { listenUnix, pathAddress, socketPair } from "../../src/native/socket.ts";
import manifest from "../../package.json";
import { countDescriptors } from "../helpers/descriptors.ts";
import { runBinary, type Outcome } from "../helpers/run-binary.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

const program = "ApplicationPoolServerExecutable";
const good = ["0", "/no/spawn-server", "", "ruby", "", ""];

/**
 * Checks that it ended at once with one line on stderr, and returns the line without the program's
 * name.
 */
function oneLine(outcome: Outcome, status: 1 | 2): string {
  expect(outcome).toMatchObject({ status, signal: undefined, stdout: "" });
  expect(outcome.stderr).toMatch(/^[^\n]+\n$/);
  expect(outcome.stderr).toStartWith(`${program}: `);
  return outcome.stderr.slice(program.length + 2, -1);
}

test("no arguments, too few, or a LOGLEVEL that is no number: usage, exit 2", async () => {
  const wrong: [string[], string][] = [
    [[], "no arguments"],
    [["loud"], "'loud'"],
    [["1.5", "", "", "", "", ""], "'1.5'"],
    [["", "", "", "", "", ""], "''"],
    [["0"], "1 of the 6 arguments"],
    [good.slice(0, 5), "5 of the 6 arguments"],
  ];
  for (const [args, words] of wrong) {
    expect(oneLine(await runBinary(args), 2)).toContain(words);
  }
});

test("options that are unknown, wrong or left over: usage, exit 2", async () => {
  const wrong: [string[], string][] = [
    [["--maximum", "5"], "--maximum"],
    [["--max", "many"], "--max is 'many'"],
    [["--max"], "--max"],
    [["extra"], "'extra'"],
  ];
  for (const [more, words] of wrong) {
    expect(oneLine(await runBinary([...good, ...more]), 2)).toContain(words);
  }
  const environment = { APPLICATION_POOL_MAX: "none" };
  expect(oneLine(await runBinary(good, { environment }), 2)).toContain("APPLICATION_POOL_MAX");
});

test("the five arguments behind LOGLEVEL are positions, whatever they look like", async () => {
  const outcome = await runBinary(["0", "--help", "--version", "-h", "", "--max"]);
  expect(oneLine(outcome, 1)).toContain("descriptor 3 must be");
});

test("descriptor 3 missing: one line that says what is wanted, exit 1", async () => {
  // The runtime may have taken the number for itself by then.
  const why = /^descriptor 3 must be one end of .*, but it is not (open|a socket); /;
  expect(oneLine(await runBinary(good), 1)).toMatch(why);
});

test("descriptor 3 a file, a pipe, a listening, a TCP or a datagram socket, or one without a peer: exit 1", async () => {
  const directory = temporaryDirectory();
  const { readEnd, writeEnd } = makePipe();
  using reader = readEnd;
  using writer = writeEnd;
  using file = new OwnedFd(openSync("/dev/null", "r+"));
  using listener = listenUnix(pathAddress(`${directory}/s`), 1);
  using tcp = new OwnedFd(libc.socket(2, 1, 0)); // AF_INET, SOCK_STREAM
  using datagrams = new OwnedFd(libc.socket(1, 2, 0)); // AF_UNIX, SOCK_DGRAM
  using lonely = new OwnedFd(libc.socket(1, 1, 0)); // AF_UNIX, SOCK_STREAM, never connected
  const cases: [OwnedFd, string][] = [
    [file, "not a socket"],
    [reader, "not a socket"],
    [writer, "not a socket"],
    [listener, "listening"],
    [tcp, "not a Unix socket"],
    [datagrams, "not a stream socket"],
    [lonely, "not connected"],
  ];
  for (const [fd, why] of cases) {
    expect(oneLine(await runBinary(good, { descriptor3: fd.number }), 1)).toContain(why);
  }
});

test("descriptor 3 that systemd passed for socket activation: exit 1; for another process it is ours", async () => {
  const [a, b] = socketPair();
  using ours = a;
  using theirs = b;
  const options = { descriptor3: theirs.number, environment: { LISTEN_FDS: "1" } };
  const wrapper = ["sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"'];
  expect(oneLine(await runBinary(good, { ...options, wrapper }), 1)).toContain("systemd");
  ours.close();
  theirs.close();
  const [c, d] = socketPair();
  using peer = d;
  c.close();
  const inherited = { LISTEN_FDS: "1", LISTEN_PID: "1" };
  const outcome = await runBinary(good, { descriptor3: peer.number, environment: inherited });
  expect(outcome).toMatchObject({ status: 0 });
});

test("a parent that is gone already: a server that ends at once, exit 0", async () => {
  const [a, b] = socketPair();
  using theirs = b;
  a.close();
  expect(await runBinary(good, { descriptor3: theirs.number })).toMatchObject({ status: 0 });
});

test("an unusable LOG_FILE or an unknown USER: exit 1, and nothing was started", async () => {
  const [a, b] = socketPair();
  using ours = a;
  using theirs = b;
  expect(ours.open).toBe(true);
  const directory = temporaryDirectory();
  mkdirSync(`${directory}/sub`);
  const marker = `${directory}/started`;
  const script = `${directory}/script`;
  writeFileSync(script, `echo > ${marker}\n`);
  const start = (logFile: string, user: string): Promise<Outcome> =>
    runBinary(["0", script, logFile, "/bin/sh", user, ""], { descriptor3: theirs.number });
  const absent = `${directory}/no/log`;
  expect(oneLine(await start(absent, ""), 1)).toContain(`'${absent}' cannot be opened: ENOENT`);
  expect(oneLine(await start(`${directory}/sub`, ""), 1)).toContain("EISDIR");
  expect(oneLine(await start("", "nobody-by-that-name"), 1)).toContain("'nobody-by-that-name'");
  expect(await Bun.file(marker).exists()).toBe(false);
});

test("called by its short name, it says that name, in usage and in errors", async () => {
  const wrapper = ["bash", "-c", 'exec -a /usr/bin/poolserver "$0" "$@"'];
  const { stdout } = await runBinary(["status", "--help"], { wrapper });
  expect(stdout).toContain("USAGE poolserver status");
  expect(stdout).not.toContain(program);
  const { stderr, status } = await runBinary(["statsu"], { wrapper });
  expect(stderr).toStartWith("poolserver: 'statsu' is neither");
  expect(status).toBe(2);
});

test("--version and --help are answered on stdout, exit 0", async () => {
  const version = await runBinary(["--version"]);
  expect(version).toMatchObject({ status: 0, stderr: "" });
  const commit = String.raw`[0-9a-f]{7}(, changed)?|built without git`;
  expect(version.stdout).toMatch(
    new RegExp(`^${program} ${RegExp.escape(manifest.version)} \\((${commit})\\)\n$`),
  );
  const help = await runBinary(["--help"]);
  expect(help).toMatchObject({ status: 0, stderr: "" });
  const forParents = ["LOGLEVEL", "SPAWN_SERVER", "STATUS_FIFO", "--max-wait"];
  for (const word of [...forParents, ...commandNames]) {
    expect(help.stdout).toContain(word);
  }
});
