/** The status FIFO with real readers: one report each, whatever they and the FIFO's name do. */
import { expect, test } from "bun:test";
import { existsSync, readSync, renameSync, unlinkSync, writeFileSync } from "node:fs";

import { open } from "../../src/native/fd.ts";
import { StatusFifo } from "../../src/status/fifo.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { errorCode, errorOf } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

interface Serving extends AsyncDisposable {
  readonly path: string;
  readonly fifo: StatusFifo;
  readonly errors: unknown[];
  /** How many reports were made. */
  reports: number;
  /** When each was. */
  readonly madeMs: number[];
}

function makeFifo(path: string): void {
  if (!Bun.spawnSync(["mkfifo", path]).success) throw new Error(`mkfifo ${path}`);
}

/** A FIFO that is being served; the n-th report ends in n. */
function serve(size = 0): Serving {
  const path = `${temporaryDirectory()}/status`;
  makeFifo(path);
  const errors: unknown[] = [];
  const fifo = new StatusFifo({
    path: fromText(path),
    report: () => {
      serving.reports += 1;
      serving.madeMs.push(performance.now());
      return Buffer.from(`${"r".repeat(size)}report ${serving.reports}`);
    },
    onError: (error) => void errors.push(error),
  });
  const serving: Serving = {
    path,
    fifo,
    errors,
    reports: 0,
    madeMs: [],
    async [Symbol.asyncDispose]() {
      await within("the FIFO to stop", fifo.stop(), 3000);
      expect(errors).toEqual([]);
    },
  };
  fifo.start();
  return serving;
}

/** How many of our descriptors are of this file; one is the server's own hold on it. */
function descriptorsOf(path: string): number {
  return [...openDescriptors().values()].filter((what) => what === path).length;
}

/** Reads a FIFO to its end in a process of its own, as tools do. */
async function cat(path: string): Promise<string> {
  await using child = Bun.spawn(["cat", path], { stdin: "ignore" });
  return await within("the report", child.stdout.text());
}

/** What a reader gets of what is there; undefined when nothing is. */
function readSome(fd: number, bytes: number): string | undefined {
  const piece = new Uint8Array(bytes);
  try {
    return Buffer.from(piece.subarray(0, readSync(fd, piece))).toString();
  } catch {
    return undefined; // EAGAIN
  }
}

test("each reader gets one report and the end, the second at the earliest a second after the first", async () => {
  await using status = serve();
  expect(await cat(status.path)).toBe("report 1");
  expect(await cat(status.path)).toBe("report 2");
  const [first = Infinity, second = 0] = status.madeMs;
  expect(second - first).toBeGreaterThan(900);
});

test("a slow reader of more than a pipe holds gets one whole report, and then the end", async () => {
  await using status = serve(300_000);
  using reader = open(status.path, "read");
  let text = "";
  await until("the report begins", () => readSomeInto() > 0);
  function readSomeInto(): number {
    const piece = readSome(reader.number, 10_000);
    if (piece !== undefined) text += piece;
    return text.length;
  }
  let ended = false;
  await until("the end", async () => {
    const piece = readSome(reader.number, 10_000);
    if (piece === "" && text.length >= 300_000) ended = true;
    else if (piece !== undefined) text += piece;
    return ended;
  });
  expect(text).toBe(`${"r".repeat(300_000)}report 1`);
  expect(status.reports).toBe(1);
});

test("a reader that takes longer than the pause over a short report gets no second one", async () => {
  await using status = serve();
  using reader = open(status.path, "read");
  await until("the report is written", () => status.reports === 1);
  await Bun.sleep(1300); // longer than the second between reports, which is what is claimed
  expect(readSome(reader.number, 1000)).toBe("report 1");
  await until("the end", () => readSome(reader.number, 1000) === "");
  expect(status.reports).toBe(1);
});

test("a reader that leaves in the middle costs its own report only", async () => {
  await using status = serve(300_000);
  {
    using reader = open(status.path, "read");
    await until(
      "the report begins",
      () => readSome(reader.number, 10) !== undefined && status.reports === 1,
    );
  }
  // Its end must have been seen: until then a second reader would be taken for the first.
  await until("the server has let go", () => descriptorsOf(status.path) === 1);
  const text = await cat(status.path);
  expect(text.slice(-8)).toBe("report 2");
  expect(text.length).toBe(300_008);
});

test("two readers at once share one report, and both see the end", async () => {
  await using status = serve(100_000);
  // Both wait in open(2) until the writer comes; what each gets is the kernel's choice.
  const [a, b] = await Promise.all([cat(status.path), cat(status.path)]);
  const all = a.length + b.length;
  expect(all % 100_008).toBe(0);
  expect(all).toBe(status.reports * 100_008);
});

test("a reader that takes nothing does not hold up the end, and the FIFO is removed", async () => {
  const status = serve(300_000);
  using reader = open(status.path, "read");
  await until("the report is written", () => status.reports === 1);
  await within("the FIFO to stop", status.fifo.stop(), 3000);
  expect(existsSync(status.path)).toBe(false);
  expect(reader.open).toBe(true);
});

test("the end does not wait for a reader that never comes, and removes the FIFO", async () => {
  const status = serve();
  await within("the FIFO to stop", status.fifo.stop(), 3000);
  expect(existsSync(status.path)).toBe(false);
  expect(status.reports).toBe(0);
});

test("a FIFO that was deleted does not hold up the end", async () => {
  const status = serve();
  unlinkSync(status.path);
  await within("the FIFO to stop", status.fifo.stop(), 3000);
  expect(status.errors).toEqual([]);
});

test("a name that means another FIFO, or a file, by now is neither served nor removed", async () => {
  for (const replace of [makeFifo, (path: string) => writeFileSync(path, "precious")]) {
    const status = serve();
    unlinkSync(status.path);
    replace(status.path);
    await within("the FIFO to stop", status.fifo.stop(), 3000);
    expect(existsSync(status.path)).toBe(true);
    expect(status.reports).toBe(0);
  }
});

test("a FIFO that was renamed is served under its new name, and not removed there", async () => {
  await using status = serve();
  const moved = `${status.path}.moved`;
  renameSync(status.path, moved);
  expect(await cat(moved)).toBe("report 1");
  await status.fifo.stop();
  expect(existsSync(moved)).toBe(true);
});

test("what is no FIFO is refused at the start, and left alone", () => {
  const path = `${temporaryDirectory()}/status`;
  const fifo = (): StatusFifo =>
    new StatusFifo({ path: fromText(path), report: () => new Uint8Array(), onError: () => {} });
  expect(errorCode(() => fifo())).toBe("ENOENT");
  writeFileSync(path, "precious");
  expect(errorOf(() => fifo()).message).toBe("it is not a FIFO");
  expect(existsSync(path)).toBe(true);
});

test("stopping twice is nothing; what never came to serve is removed as well", async () => {
  const status = serve();
  await status.fifo.stop();
  await status.fifo.stop();
  const path = `${temporaryDirectory()}/status`;
  makeFifo(path);
  const options = { path: fromText(path), report: () => new Uint8Array(), onError: () => {} };
  await new StatusFifo(options).stop();
  expect(existsSync(path)).toBe(false);
});
