/**
 * Pipes against the real kernel: what is written, what is unread, and full, broken and disk-full
 * ones.
 */
import { expect, test } from "bun:test";
import { openSync, readSync } from "node:fs";

import { setNonBlocking } from "../../src/native/fd.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { makePipe, unreadBytes, writeSome } from "../../src/native/pipe.ts";
import { hammer } from "../helpers/collect.ts";
import {
  countDescriptors,
  descriptorFlags,
  exhaustDescriptors,
  O_CLOEXEC,
  O_NONBLOCK,
} from "../helpers/descriptors.ts";
import { errorCode } from "../helpers/errors.ts";

countDescriptors();

function pipe(): { reader: OwnedFd; writer: OwnedFd } & Disposable {
  const { readEnd: reader, writeEnd: writer } = makePipe();
  return {
    reader,
    writer,
    [Symbol.dispose]() {
      reader.close();
      writer.close();
    },
  };
}

test("both ends are close-on-exec and in blocking mode", () => {
  using made = pipe();
  for (const { number } of [made.reader, made.writer]) {
    expect(descriptorFlags(number) & O_CLOEXEC).toBe(O_CLOEXEC);
    expect(descriptorFlags(number) & O_NONBLOCK).toBe(0);
  }
});

test("a pipe without a free descriptor is EMFILE, and takes none", () => {
  using none = exhaustDescriptors(1);
  void none;
  expect(errorCode(() => makePipe())).toBe("EMFILE");
});

test("bytes are unread from either end until they are read", () => {
  using made = pipe();
  expect(writeSome(made.writer.number, Buffer.from("report"))).toBe(6);
  expect(unreadBytes(made.reader.number)).toBe(6);
  expect(unreadBytes(made.writer.number)).toBe(6);
  readSync(made.reader.number, new Uint8Array(4));
  expect(unreadBytes(made.writer.number)).toBe(2);
});

test("what has no unread bytes to tell of is ENOTTY, not a number", () => {
  using file = new OwnedFd(openSync("/dev/null", "r"));
  expect(errorCode(() => unreadBytes(file.number))).toMatch(/ENOTTY|errno 25/);
});

test("a full pipe takes nothing and does not block once it is non-blocking", () => {
  using made = pipe();
  setNonBlocking(made.writer.number, true);
  const chunk = new Uint8Array(100_000).fill(1);
  let total = 0;
  for (let wrote = writeSome(made.writer.number, chunk); wrote > 0;) {
    total += wrote;
    wrote = writeSome(made.writer.number, chunk);
  }
  expect(total).toBe(65_536);
  expect(unreadBytes(made.reader.number)).toBe(65_536);
});

test("one write moves a bounded piece and tells how much", () => {
  using made = pipe();
  const wrote = writeSome(made.writer.number, new Uint8Array(60_000));
  expect(wrote).toBeGreaterThan(0);
  expect(wrote).toBeLessThan(60_000);
  expect(unreadBytes(made.reader.number)).toBe(wrote);
});

test("a pipe without a reader is EPIPE, not a deadly signal", () => {
  using made = pipe();
  made.reader.close();
  expect(errorCode(() => writeSome(made.writer.number, Buffer.from("x")))).toBe("EPIPE");
});

test("a full disk is ENOSPC", () => {
  using full = new OwnedFd(openSync("/dev/full", "w"));
  expect(errorCode(() => writeSome(full.number, Buffer.from("x")))).toBe("ENOSPC");
});

test("60,000 writes arrive as they were written, with collections of garbage in between", () => {
  using made = pipe();
  let wrong = 0;
  const got = new Uint8Array(32);
  hammer((round) => {
    const text = `line ${round}\n`;
    writeSome(made.writer.number, Buffer.from(text));
    const count = readSync(made.reader.number, got);
    if (Buffer.from(got.subarray(0, count)).toString() !== text) wrong += 1;
  });
  expect(wrong).toBe(0);
});
