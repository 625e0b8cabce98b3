/** What can be asked of any descriptor, against the real kernel. */
import { expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  fstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";

import {
  canWrite,
  duplicate,
  findBroken,
  isOpen,
  open,
  setCloseOnExec,
  setNonBlocking,
  unlink,
} from "../../src/native/fd.ts";
import { errnos } from "../../src/native/errno.ts";
import { makePipe, writeSome } from "../../src/native/pipe.ts";
import { socketPair } from "../../src/native/socket.ts";
import { hammer } from "../helpers/collect.ts";
import {
  countDescriptors,
  descriptorFlags,
  exhaustDescriptors,
  O_CLOEXEC,
  O_NONBLOCK,
} from "../helpers/descriptors.ts";
import { errorCode, errorOf } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

/** A path as the byte string that the native layer takes. */
function byteString(latin1: string): Buffer {
  return Buffer.from(latin1, "latin1");
}

test("O_NONBLOCK belongs to the description: a duplicate has it too", () => {
  const [a, b] = socketPair();
  using left = a;
  using right = b;
  void right;
  using copy = duplicate(left.number);
  setNonBlocking(left.number, true);
  expect(descriptorFlags(copy.number) & O_NONBLOCK).toBe(O_NONBLOCK);
  setNonBlocking(copy.number, false);
  expect(descriptorFlags(left.number) & O_NONBLOCK).toBe(0);
});

test("close-on-exec belongs to the descriptor: a duplicate has its own, and is born with it", () => {
  using original = open("/dev/null", "read");
  setCloseOnExec(original.number, false);
  using copy = duplicate(original.number);
  expect(descriptorFlags(original.number) & O_CLOEXEC).toBe(0);
  expect(descriptorFlags(copy.number) & O_CLOEXEC).toBe(O_CLOEXEC);
  setCloseOnExec(original.number, true);
  expect(descriptorFlags(original.number) & O_CLOEXEC).toBe(O_CLOEXEC);
});

test("asking for flags of a number that is no descriptor is EBADF", () => {
  expect(errorOf(() => setNonBlocking(1_000_000, true)).message).toBe(
    "fcntl F_GETFL on fd 1000000: EBADF",
  );
  expect(errorCode(() => duplicate(1_000_000))).toBe("EBADF");
  expect(isOpen(1_000_000)).toBe(false);
});

test("opens files by their bytes, close-on-exec and without waiting", () => {
  const path = `${temporaryDirectory()}/caf\xe9 \xff\n`;
  writeFileSync(byteString(path), "content");
  using file = open(path, "read");
  expect(readFileSync(file.number, "utf8")).toBe("content");
  expect(descriptorFlags(file.number) & O_CLOEXEC).toBe(O_CLOEXEC);
});

test("opening a FIFO for reading does not wait for a writer", () => {
  const path = `${temporaryDirectory()}/fifo`;
  Bun.spawnSync(["mkfifo", path]);
  using fifo = open(path, "read");
  expect(fstatSync(fifo.number).isFIFO()).toBe(true);
});

test("a file opened for append is made when it is missing, and written at its end", () => {
  const path = `${temporaryDirectory()}/log`;
  for (const line of ["one\n", "two\n"]) {
    using log = open(path, "append");
    expect(writeSome(log.number, Buffer.from(line))).toBe(4);
  }
  expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
});

test("a name opened as such is the link, not what it points to, and gives no access", () => {
  const directory = temporaryDirectory();
  writeFileSync(`${directory}/file`, "content");
  symlinkSync("file", `${directory}/link`);
  using link = open(`${directory}/link`, "path");
  expect(fstatSync(link.number).isSymbolicLink()).toBe(true);
  using file = open(`${directory}/file`, "path");
  expect(() => readFileSync(file.number)).toThrow("EBADF");
});

test("a directory is opened through links, and nothing else is", () => {
  const directory = temporaryDirectory();
  mkdirSync(`${directory}/real`);
  symlinkSync("real", `${directory}/link`);
  writeFileSync(`${directory}/file`, "");
  using opened = open(`${directory}/link`, "directory");
  expect(fstatSync(opened.number).ino).toBe(statSync(`${directory}/real`).ino);
  expect(errorCode(() => open(`${directory}/file`, "directory"))).toBe("ENOTDIR");
});

test("failures to open name the call, the path and the cause", () => {
  const directory = temporaryDirectory();
  expect(errorOf(() => open(`${directory}/x`, "read")).message).toBe(
    `open on ${directory}/x: ENOENT`,
  );
  expect(errorCode(() => open(`${directory}/x/y`, "append"))).toBe("ENOENT");
  expect(errorCode(() => open(directory, "append"))).toBe("EISDIR");
  expect(errorCode(() => open(`${directory}/${"n".repeat(256)}`, "read"))).toBe("ENAMETOOLONG");
  using none = exhaustDescriptors(0);
  void none;
  expect(errorCode(() => open("/dev/null", "read"))).toBe("EMFILE");
});

test("a path with a NUL or longer than the kernel takes is refused before the kernel is asked", () => {
  expect(() => open("/dev/null\0", "read")).toThrow("NUL");
  expect(() => open("/".padEnd(4096, "x"), "read")).toThrow("path of 4096 bytes");
});

test("unlink deletes a name of any bytes, and tells what is absent from what is forbidden", () => {
  const directory = temporaryDirectory();
  const path = `${directory}/\xfe\xff`;
  writeFileSync(byteString(path), "");
  expect(unlink(path)).toBe("deleted");
  expect(existsSync(byteString(path))).toBe(false);
  expect(unlink(path)).toBe("absent");
  expect(unlink(`${directory}/no/such`)).toBe("absent");
  writeFileSync(`${directory}/file`, "");
  expect(unlink(`${directory}/file/below`)).toBe("absent");
  mkdirSync(`${directory}/directory`);
  expect(unlink(`${directory}/directory`)).toBe(21); // EISDIR
});

test("unlink deletes a dangling link, not what it would point to", () => {
  const directory = temporaryDirectory();
  symlinkSync("nowhere", `${directory}/link`);
  expect(unlink(`${directory}/link`)).toBe("deleted");
});

test("what the kernel forbids to delete is told by number", () => {
  // Not even root may delete from proc.
  const result = unlink("/proc/self/status");
  expect(result).not.toBe("deleted");
  expect(result).toBeNumber();
  expect(result).not.toBe(errnos.ENOENT);
  const directory = temporaryDirectory();
  writeFileSync(`${directory}/file`, "");
  chmodSync(directory, 0o555);
  const allowed = unlink(`${directory}/file`);
  chmodSync(directory, 0o755);
  expect(allowed).toBe(process.geteuid?.() === 0 ? "deleted" : 13); // EACCES
});

test("of many descriptors, finds those whose other end is gone, and those that are not open", () => {
  const healthy = makePipe();
  const broken = makePipe();
  broken.readEnd.close();
  using kept = healthy.readEnd;
  void kept;
  using intact = healthy.writeEnd;
  using lost = broken.writeEnd;
  const fds = [intact.number, lost.number, intact.number, 1_000_000];
  expect(findBroken(fds)).toEqual([1, 3]);
  expect(findBroken([])).toEqual([]);
});

test("finds the broken ones among more descriptors than one call asks about", () => {
  const healthy = makePipe();
  const broken = makePipe();
  broken.readEnd.close();
  using kept = healthy.readEnd;
  void kept;
  using intact = healthy.writeEnd;
  using lost = broken.writeEnd;
  const fds = Array.from({ length: 2500 }, () => intact.number);
  const places = [0, 1023, 1024, 2047, 2048, 2499];
  for (const place of places) fds[place] = lost.number;
  expect(findBroken(fds)).toEqual(places);
});

test("a socket counts as broken once its peer is closed, not when it merely has something to say", () => {
  const [a, b] = socketPair();
  using left = a;
  writeSome(b.number, Buffer.from("x"));
  expect(findBroken([left.number])).toEqual([]);
  b.close();
  expect(findBroken([left.number])).toEqual([0]);
});

test("a full pipe cannot be written, an empty one can", () => {
  const { readEnd, writeEnd } = makePipe();
  using reader = readEnd;
  void reader;
  using writer = writeEnd;
  expect(canWrite(writer.number)).toBe(true);
  setNonBlocking(writer.number, true);
  while (writeSome(writer.number, new Uint8Array(4096)) > 0);
  expect(canWrite(writer.number)).toBe(false);
  expect(canWrite(1_000_000)).toBe(false);
});

test("60,000 paths reach the kernel as they were written, with collections of garbage in between", () => {
  const directory = temporaryDirectory();
  writeFileSync(`${directory}/there`, "");
  let wrong = 0;
  hammer((round) => {
    const path = `${directory}/absent-${round % 97}`;
    if (unlink(path) !== "absent") wrong += 1;
    if (round % 50 === 0) open(`${directory}/there`, "path").close();
  });
  expect(wrong).toBe(0);
});

test("60,000 polls tell the same, with collections of garbage in between", () => {
  const broken = makePipe();
  broken.readEnd.close();
  const healthy = makePipe();
  using kept = healthy.readEnd;
  void kept;
  using intact = healthy.writeEnd;
  using lost = broken.writeEnd;
  let wrong = 0;
  hammer((round) => {
    const fds = round % 2 === 0 ? [intact.number, lost.number] : [lost.number, intact.number];
    if (findBroken(fds)[0] !== 1 - (round % 2)) wrong += 1;
  });
  expect(wrong).toBe(0);
});
