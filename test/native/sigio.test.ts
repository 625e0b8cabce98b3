/**
 * Being woken when a descriptor changes, without reading it: real sockets, real signals, and storms
 * of others.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";

import { receiveDescriptor, sendDescriptor } from "../../src/native/descriptors.ts";
import { sendSignal, signals } from "../../src/native/process.ts";
import { watchSigio } from "../../src/native/sigio.ts";
import { receive, send, socketPair } from "../../src/native/socket.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { errorCode } from "../helpers/errors.ts";

countDescriptors();

// Bun opens a descriptor of its own with the first signal handler; it is there before the tests
// count.
beforeAll(() => {
  const [a, b] = socketPair();
  watchSigio(a.number, () => {})();
  a.close();
  b.close();
});

const ignored = (): void => {};
beforeAll(() => void process.on("SIGUSR2", ignored));
afterAll(() => void process.off("SIGUSR2", ignored));

function watched() {
  const [ours, theirs] = socketPair();
  const seen = { wakes: 0 };
  const stop = watchSigio(ours.number, () => {
    seen.wakes += 1;
  });
  return {
    ours,
    theirs,
    seen,
    [Symbol.dispose]() {
      stop();
      ours.close();
      theirs.close();
    },
  };
}

test("wakes for bytes, for a descriptor, and for the end", async () => {
  using pair = watched();
  const { ours, theirs, seen } = pair;
  send(theirs.number, Buffer.from("x"));
  await until("bytes wake", () => seen.wakes > 0);
  expect(receive(ours.number, 10)).toEqual(new Uint8Array(Buffer.from("x")));
  const before = seen.wakes;
  sendDescriptor(theirs.number, theirs.number);
  await until("a descriptor wakes", () => seen.wakes > before);
  const got = receiveDescriptor(ours.number);
  if (typeof got === "string") throw new Error(got);
  got.close();
  const last = seen.wakes;
  theirs.close();
  await until("the end wakes", () => seen.wakes > last);
  expect(receive(ours.number, 1)).toBe("end");
});

test("loses nothing: whoever reads all there is on every wake sees 2,000 messages, also amid other signals", async () => {
  using pair = watched();
  const { ours, theirs } = pair;
  let got = 0;
  const drain = (): void => {
    for (let piece = receive(ours.number, 4096); typeof piece !== "string";) {
      got += piece.length;
      piece = receive(ours.number, 4096);
    }
  };
  const stop = watchSigio(ours.number, drain);
  for (let i = 0; i < 2000; i += 1) {
    send(theirs.number, Buffer.from("x"));
    if (i % 3 === 0) sendSignal(process.pid, signals.SIGUSR1 + 2);
    if (i % 50 === 0) await Bun.sleep(0);
  }
  await until(
    "all messages are seen",
    () => got === 2000,
    () => got,
  );
  stop();
});

test("after it is stopped nobody is called any more", async () => {
  using pair = watched();
  let wakes = 0;
  const stop = watchSigio(pair.ours.number, () => {
    wakes += 1;
  });
  stop();
  send(pair.theirs.number, Buffer.from("x"));
  await until("the other watcher is woken", () => pair.seen.wakes > 0);
  expect(wakes).toBe(0);
});

test("watching what is no descriptor is EBADF, and nobody stays registered", async () => {
  let wakes = 0;
  expect(errorCode(() => watchSigio(1_000_000, () => (wakes += 1)))).toBe("EBADF");
  using pair = watched();
  send(pair.theirs.number, Buffer.from("x"));
  await until("the other watcher is woken", () => pair.seen.wakes > 0);
  expect(wakes).toBe(0);
});

test("makes the description non-blocking and opens nothing", () => {
  const before = openDescriptors().size;
  using pair = watched();
  expect(receive(pair.ours.number, 1)).toBe("empty");
  expect(openDescriptors().size).toBe(before + 2);
});
