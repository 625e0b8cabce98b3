/** A raw socket on Bun's event loop: who owns the number, and what is seen of the peer. */
import { expect, test } from "bun:test";
import { openSync } from "node:fs";

import { putOnEventLoop } from "../../src/native/event-loop.ts";
import { isOpen } from "../../src/native/fd.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { receive, send, socketPair } from "../../src/native/socket.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";

countDescriptors();

interface Seen {
  text: string;
  ended: number;
  closed: number;
}

const handlers: Bun.SocketHandler<Seen> = {
  data: (socket, chunk) => void (socket.data.text += chunk.toString("latin1")),
  end: (socket) => void (socket.data.ended += 1),
  close: (socket) => void (socket.data.closed += 1),
};

function nothingSeen(): Seen {
  return { text: "", ended: 0, closed: 0 };
}

test("bytes and the end arrive, and the number is not ours any more", async () => {
  const [ours, theirs] = socketPair();
  const seen = nothingSeen();
  await putOnEventLoop(ours, { data: seen, socket: handlers });
  expect(ours.open).toBe(false);
  send(theirs.number, Buffer.from("hello"));
  await until("the bytes are there", () => seen.text === "hello");
  theirs.close();
  await until("it is closed", () => seen.closed === 1);
});

test("a peer that is gone already shows as the end of what it had said", async () => {
  const [ours, theirs] = socketPair();
  send(theirs.number, Buffer.from("last words"));
  theirs.close();
  const seen = nothingSeen();
  await putOnEventLoop(ours, { data: seen, socket: handlers });
  await until("it is closed", () => seen.closed === 1);
  expect(seen.text).toBe("last words");
});

test("ending a socket tells the peer and closes its number", async () => {
  const [ours, theirs] = socketPair();
  using peer = theirs;
  const { number } = ours;
  const seen = nothingSeen();
  const socket = await putOnEventLoop(ours, { data: seen, socket: handlers });
  socket.terminate();
  await until("the peer sees the end", () => receive(peer.number, 1) === "end");
  expect(isOpen(number)).toBe(false);
});

test("what is no socket is refused and closed", async () => {
  const file = new OwnedFd(openSync("/dev/null", "r"));
  const { number } = file;
  const error = await putOnEventLoop(file, { data: nothingSeen(), socket: handlers }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(Error);
  expect(isOpen(number)).toBe(false);
});

test("with a half-open peer, writing goes on after its end", async () => {
  const [ours, theirs] = socketPair();
  const seen = nothingSeen();
  const half = await putOnEventLoop(ours, { data: seen, socket: handlers, allowHalfOpen: true });
  const peer = await putOnEventLoop(theirs, {
    data: nothingSeen(),
    socket: handlers,
    allowHalfOpen: true,
  });
  peer.shutdown();
  await until("the end is seen", () => seen.ended === 1);
  half.write("still here");
  await until("the answer arrives", () => peer.data.text === "still here");
  half.terminate();
  peer.terminate();
});
