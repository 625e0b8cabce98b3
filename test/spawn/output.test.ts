/** An instance's output: every byte of it reaches the log in lines of bounded length. */
import { expect, test } from "bun:test";
import { writeSync } from "node:fs";

import { makePipe } from "../../src/native/pipe.ts";
import {
  LineSplitter,
  maxLineBytes,
  OutputReader,
  Tail,
  tailBytes,
} from "../../src/spawn/builtin/output.ts";
import { OutputAllowance } from "../../src/spawn/builtin/output-allowance.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";

countDescriptors();

function split(...chunks: string[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const chunk of chunks) splitter.push(Buffer.from(chunk, "latin1"));
  splitter.flush();
  return lines;
}

test("gives lines without their ends, empty ones too, and the rest at the end", () => {
  expect(split("a\nb\n\nc")).toEqual(["a", "b", "", "c"]);
  expect(split("a\n")).toEqual(["a"]);
  expect(split("")).toEqual([]);
  expect(split("\n")).toEqual([""]);
});

test("joins a line however it is cut", () => {
  const text = "first line\n\nthird \xff line\nrest";
  const whole = split(text);
  for (let at = 0; at <= text.length; at += 1) {
    expect(split(text.slice(0, at), text.slice(at))).toEqual(whole);
  }
  expect(split(...text.split(""))).toEqual(whole);
});

test("passes a line that is too long on in pieces, and loses none of it", () => {
  const long = "x".repeat(2 * maxLineBytes + 5);
  expect(split(`${long}\nnext`).map((line) => line.length)).toEqual([
    maxLineBytes,
    maxLineBytes,
    5,
    4,
  ]);
  expect(split(...long.split("")).join("")).toBe(long);
});

test("takes a line of exactly the greatest length as one", () => {
  const line = "x".repeat(maxLineBytes);
  expect(split(`${line}\ny\n`)).toEqual([line, "y"]);
});

test("keeps the last bytes, whatever the pieces were", () => {
  const text = Array.from({ length: 4_000 }, (_, index) => `line ${index}\n`).join("");
  for (const size of [1, 7, 5_000, text.length]) {
    const tail = new Tail();
    for (let at = 0; at < text.length; at += size) {
      tail.push(Buffer.from(text.slice(at, at + size)));
    }
    expect(Buffer.from(tail.bytes).toString()).toBe(text.slice(-tailBytes));
  }
  expect(new Tail().bytes.length).toBe(0);
});

test("reads a pipe to its end, and gives its descriptor back", async () => {
  const lines: string[] = [];
  const { readEnd, writeEnd } = makePipe();
  const reader = new OutputReader(readEnd, (line) => lines.push(line));
  const child = Bun.spawn(["sh", "-c", "echo out; echo err >&2; printf rest"], {
    stdio: ["ignore", writeEnd.number, writeEnd.number],
  });
  writeEnd.close();
  await within("the end", reader.ended);
  await child.exited;
  expect(lines).toEqual(["out", "err", "rest"]);
  expect(await reader.lastText()).toBe("out\nerr\nrest");
});

test("copes with more output than a pipe holds", async () => {
  let bytes = 0;
  const { readEnd, writeEnd } = makePipe();
  const reader = new OutputReader(readEnd, (line) => {
    bytes += line.length;
  });
  const child = Bun.spawn(["head", "-c", "10000000", "/dev/zero"], {
    stdio: ["ignore", writeEnd.number, "ignore"],
  });
  writeEnd.close();
  await within("the end", reader.ended);
  await child.exited;
  expect(bytes).toBe(10_000_000);
});

test("what is refused is dropped to the end of its line, counted, and said once", async () => {
  const lines: string[] = [];
  let mayPass = true;
  const { readEnd, writeEnd } = makePipe();
  const reader = new OutputReader(readEnd, (line) => {
    if (!mayPass) return false;
    lines.push(line);
    return true;
  });
  const write = (text: string) => writeSync(writeEnd.number, text);
  write("first\n");
  await until("it is read", () => lines.length === 1);
  mayPass = false;
  write("refused\n\n\nrefused, too, but for its en");
  await until("it is read", () => !reader.isBehind);
  mayPass = true;
  write("d\nsecond\n");
  await until("it is said", () => lines.length === 3);
  expect(lines).toEqual([
    "first",
    "second",
    "(40 bytes of output were dropped: too much of it at once)",
  ]);
  writeEnd.close();
  await within("the end", reader.ended);
});

test("all that was written is waited for, however long it takes to pass on what came before", async () => {
  const { readEnd, writeEnd } = makePipe();
  const write = (count: number) =>
    writeSync(
      writeEnd.number,
      "a line with fifty characters and the end behind it\n".repeat(count),
    );
  let lines = 0;
  const reader = new OutputReader(readEnd, () => {
    lines += 1;
    // More is written while what came before is passed on.
    if (lines === 600) write(600);
    // Longer than it is waited for who has written all and left the pipe to others.
    if (lines === 600 || lines === 1300) Bun.sleepSync(250);
  });
  // Twice more than is passed on at once.
  write(1280);
  await reader.untilWritten();
  expect(lines).toBe(1880);
  writeEnd.close();
  await within("the end", reader.ended);
});

test("an application may write 1 MiB a second for ever, in lines of 32 bytes or more", () => {
  const allowance = new OutputAllowance(0);
  let refused = 0;
  for (let second = 0; second < 60; second += 1) {
    for (let line = 0; line < 1024 * 1024; line += 32) {
      if (!allowance.take(32, second * 1000)) refused += 1;
    }
  }
  expect(refused).toBe(0);
});

test("a flood of empty lines is cut to so many a second", () => {
  const allowance = new OutputAllowance(0);
  let passed = 0;
  for (let ms = 0; ms < 10_000; ms += 1) {
    for (let line = 0; line < 1_000; line += 1) if (allowance.take(1, ms)) passed += 1;
  }
  expect(passed).toBeGreaterThan(128 * 1024);
  expect(passed).toBeLessThan(128 * 1024 + 10 * 33 * 1024);
});

test("stops reading although somebody could still write", async () => {
  const { readEnd, writeEnd } = makePipe();
  const reader = new OutputReader(readEnd, () => {});
  reader.stop();
  await within("the end", reader.ended);
  writeEnd.close();
  Bun.gc(true);
});
