/** The server's log: what is written at which level, and that no value can forge a line. */
import { expect, test } from "bun:test";
import { readFileSync, readSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";

import { open } from "../../src/native/fd.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { LineWriter } from "../../src/logging/line-writer.ts";
import { Log, outputWriter } from "../../src/logging/log.ts";
import { fromText, type ByteString } from "../../src/wire/bytes.ts";
import { turn, until } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { errorCode } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

function logAt(level: number, format: "text" | "json" = "text"): { log: Log; lines: string[] } {
  const lines: string[] = [];
  return { log: new Log(level, format, (line) => void lines.push(line)), lines };
}

/**
 * A writer to a file lives as long as its process; here its descriptor is given back at the end.
 */
function lineWriter(path: string): { writer: LineWriter } & Disposable {
  const before = openDescriptors();
  const writer = new LineWriter(path as ByteString);
  return {
    writer,
    [Symbol.dispose]() {
      for (const [fd, what] of openDescriptors()) {
        if (before.get(fd) !== what && what.startsWith(dirname(path))) new OwnedFd(fd).close();
      }
    },
  };
}

/** Everything that can be read now. */
function readAvailable(fd: number): string {
  let text = "";
  const piece = new Uint8Array(65_536);
  for (;;) {
    try {
      const count = readSync(fd, piece);
      if (count === 0) return text;
      text += Buffer.from(piece.subarray(0, count)).toString("latin1");
    } catch {
      return text; // EAGAIN: no more for now.
    }
  }
}

test("level 0 writes warnings and errors, 4 everything, and a negative one nothing", () => {
  const written = [-1, 0, 1, 2, 3, 4, 99].map((level) => {
    const { log, lines } = logAt(level);
    for (const of of [0, 1, 2, 3, 4] as const) log.event(of, "event");
    log.error("error");
    return lines.length;
  });
  expect(written).toEqual([0, 2, 3, 4, 5, 6, 6]);
});

test("whether a level is written can be asked before fields are composed", () => {
  const { log } = logAt(2);
  expect([log.writes(0), log.writes(2), log.writes(3)]).toEqual([true, true, false]);
});

test("a line is time, level, event and fields, in that order", () => {
  const { log, lines } = logAt(4);
  log.event(1, "instance spawned", { app: "/srv/app", pid: 7, fresh: true, empty: "" });
  expect(lines[0]).toMatch(
    /^\d{4}-\d\d-\d\dT[\d:.]+Z notice instance spawned app=\/srv\/app pid=7 fresh=true empty=""\n$/,
  );
});

test("no value ends a line, colours a terminal, or looks like another field", () => {
  const { log, lines } = logAt(4);
  const nasty = [
    "a\nerror forged",
    "\x1b[31mred",
    "x=1 y=2",
    'say "hi"',
    "\u2028\u0085\x7f\0",
    " ",
  ];
  for (const value of nasty) log.event(0, "event", { value });
  for (const line of lines) {
    const ends = /[\p{Cc}\u2028\u2029]/u;
    expect(line.slice(0, -1)).not.toMatch(ends);
    // One field: a word, or quoted.
    expect(line).toMatch(/ warning event value=([^\s"=]+|"([^"\\]|\\.)*")\n$/);
  }
  expect(lines).toHaveLength(nasty.length);
});

test("a value too long to read is cut", () => {
  const { log, lines } = logAt(4);
  log.event(0, "event", { value: "x".repeat(100_000) });
  expect(lines[0]?.length).toBeLessThan(500);
  expect(lines[0]).toContain("xxx...");
});

test("as JSON every line is one object with the same fields, numbers as numbers", () => {
  const { log, lines } = logAt(4, "json");
  log.event(2, "limits set", { max: 5, useGlobalQueue: true, note: 'a "b"\n\u2028' });
  log.error("broken");
  const [first, second] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(first).toMatchObject({ level: "info", event: "limits set", max: 5, useGlobalQueue: true });
  expect(first?.["note"]).toBe('a "b"\\x0a\\u2028');
  expect(second).toMatchObject({ level: "error", event: "broken" });
  expect(lines.every((line) => line.indexOf("\n") === line.length - 1)).toBe(true);
});

test("an instance's output keeps its bytes but for what a terminal obeys, behind application and process", async () => {
  const path = `${temporaryDirectory()}/log`;
  using held = lineWriter(path);
  const { writer } = held;
  const root = "/srv/\xff\n" as ByteString;
  outputWriter(writer, "text")(
    7,
    root,
    "caf\xe9\t\x1b[31mred\x1b[0m \x1b[2K\r\xc2\x9b1A\r" as ByteString,
  );
  outputWriter(writer, "json")(7, fromText("/srv/é"), fromText("größe"));
  await turn(2);
  const [text = "", json = ""] = readFileSync(path, "latin1").split("\n");
  expect(text).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z \[/);
  expect(text).toEndWith(" [/srv/\\xff\\n 7] caf\xe9\t\x1b[31mred\x1b[0m \\x1b[2K\\r\\xc2\\x9b1A");
  const parsed = JSON.parse(Buffer.from(json, "latin1").toString()) as Record<string, unknown>;
  expect(parsed).toMatchObject({ level: "output", app: "/srv/é", pid: 7, line: "größe" });
});

test("a log that was rotated is opened anew under its name", () => {
  const path = `${temporaryDirectory()}/log`;
  using held = lineWriter(path);
  const { writer } = held;
  writer.write("before\n");
  renameSync(path, `${path}.1`);
  writer.write("still the old one\n");
  writer.reopen();
  writer.write("after\n");
  expect(readFileSync(`${path}.1`, "utf8")).toBe("before\nstill the old one\n");
  expect(readFileSync(path, "utf8")).toBe("after\n");
});

test("a log that cannot be opened anew stays in use, and says so", () => {
  const directory = temporaryDirectory();
  const path = `${directory}/logs`;
  using held = lineWriter(path);
  const { writer } = held;
  using kept = open(path, "read");
  rmSync(directory, { recursive: true });
  writer.reopen();
  writer.write("after\n");
  expect(readFileSync(kept.number, "utf8")).toBe(
    "(the log could not be reopened; this file stays in use)\nafter\n",
  );
});

test("a log that cannot be opened at first is an error", () => {
  const path = `${temporaryDirectory()}/no/log` as ByteString;
  expect(errorCode(() => new LineWriter(path))).toBe("ENOENT");
});

test("lines that a pipe has no room for wait for its reader, in their order", async () => {
  const path = `${temporaryDirectory()}/fifo`;
  Bun.spawnSync(["mkfifo", path]);
  using reader = open(path, "read");
  using held = lineWriter(path);
  const { writer } = held;
  const lines = Array.from({ length: 3_000 }, (_, number) => `${number} ${"x".repeat(990)}\n`);
  for (const line of lines) writer.write(line);
  let text = "";
  await until("all lines are there", () => {
    text += readAvailable(reader.number);
    return text.endsWith(lines.at(-1) ?? "");
  });
  expect(text).toBe(lines.join(""));
});

test("a pipe that nobody reads holds nobody up; lost lines are counted once there is room", async () => {
  const path = `${temporaryDirectory()}/fifo`;
  Bun.spawnSync(["mkfifo", path]);
  using reader = open(path, "read");
  using held = lineWriter(path);
  const { writer } = held;
  const line = `${"x".repeat(999)}\n`;
  const written = 6_000;
  for (let i = 0; i < written; i += 1) writer.write(line);
  let text = "";
  let isLast = false;
  await until("there is room again", () => {
    text += readAvailable(reader.number);
    if (!isLast && text.length > 100_000) {
      isLast = true;
      writer.write("room again\n");
    }
    return text.endsWith("room again\n");
  });
  const lines = text.split("\n").slice(0, -1);
  const whole = lines.filter((each) => each === "x".repeat(999)).length;
  expect(lines.slice(whole)).toEqual([
    `(${written - whole} lines were dropped: the log took no more)`,
    "room again",
  ]);
  expect(whole).toBeLessThan(written);
});

test("a line longer than a pipe is written whole, and the next begins a line of its own", async () => {
  const path = `${temporaryDirectory()}/fifo`;
  Bun.spawnSync(["mkfifo", path]);
  using reader = open(path, "read");
  using held = lineWriter(path);
  const { writer } = held;
  writer.write(`${"a".repeat(200_000)}\n`);
  writer.write("next\n");
  let text = "";
  await until("both are there", () => {
    text += readAvailable(reader.number);
    return text.endsWith("next\n");
  });
  expect(text).toBe(`${"a".repeat(200_000)}\nnext\n`);
});

test("a line that is cut off by its reader's end does not run into the next", async () => {
  const path = `${temporaryDirectory()}/fifo`;
  Bun.spawnSync(["mkfifo", path]);
  const first = open(path, "read");
  using held = lineWriter(path);
  const { writer } = held;
  writer.write(`${"a".repeat(200_000)}\n`);
  readAvailable(first.number);
  first.close();
  writer.write("lost\n");
  using second = open(path, "read");
  await until("there is a reader again", () => {
    writer.write("next\n");
    return readAvailable(second.number) !== "" || undefined;
  });
  writer.write("last\n");
  expect(readAvailable(second.number)).toMatch(/^(next\n)*last\n$/);
});
