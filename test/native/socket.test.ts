/**
 * Unix stream sockets against the real kernel: addresses, connecting, sending, receiving, and what
 * may go wrong.
 */
import { expect, test } from "bun:test";
import { openSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";

import { C } from "../../src/native/layout.ts";
import { libc } from "../../src/native/libc.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { makePipe } from "../../src/native/pipe.ts";
import {
  abstractAddress,
  connectUnix,
  listenUnix,
  pathAddress,
  peerState,
  receive,
  send,
  shutdown,
  socketPair,
  transferSize,
  whyNotStream,
  type UnixAddress,
} from "../../src/native/socket.ts";
import { until } from "../helpers/condition.ts";
import { hammer } from "../helpers/collect.ts";
import {
  countDescriptors,
  descriptorFlags,
  exhaustDescriptors,
  openDescriptors,
  O_CLOEXEC,
  O_NONBLOCK,
} from "../helpers/descriptors.ts";
import { errorCode, errorOf } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();
let names = 0;

/** An abstract name nobody else uses. */
function freshName(): string {
  names += 1;
  return `pool-test-${process.pid}-${names}`;
}

/** Connects, and fails the test if the listener is full. */
function connected(to: UnixAddress) {
  const socket = connectUnix(to);
  if (socket === "full") throw new Error("the listener is full");
  return socket;
}

test("both ends of a pair are connected, close-on-exec and in blocking mode", () => {
  const [a, b] = socketPair();
  using left = a;
  using right = b;
  for (const { number } of [left, right]) {
    expect(descriptorFlags(number) & O_CLOEXEC).toBe(O_CLOEXEC);
    expect(descriptorFlags(number) & O_NONBLOCK).toBe(0);
    expect(whyNotStream(number)).toBeUndefined();
  }
  expect(send(left.number, Buffer.from("to the right"))).toBe(12);
  expect(receive(right.number, 100)).toEqual(new Uint8Array(Buffer.from("to the right")));
});

test("a socket pair that finds no free descriptor is EMFILE, and takes none", () => {
  using none = exhaustDescriptors(1);
  void none;
  expect(errorCode(() => socketPair())).toBe("EMFILE");
});

test("a connection that finds no free descriptor is EMFILE", () => {
  const name = abstractAddress(freshName(), "exact");
  using listener = listenUnix(name, 1);
  void listener;
  using none = exhaustDescriptors(0);
  void none;
  expect(errorCode(() => connectUnix(name))).toBe("EMFILE");
});

test("connects to a path of any bytes, also one as long as a socket's path can be", () => {
  const directory = temporaryDirectory();
  const longest = `${directory}/`.padEnd(107, "x");
  for (const path of [`${directory}/\xff\xfe \n\t'`, longest]) {
    using listener = listenUnix(pathAddress(path), 1);
    void listener;
    using socket = connected(pathAddress(path));
    expect(whyNotStream(socket.number)).toBeUndefined();
  }
});

test("a path that does not fit an address is refused by name of the limit", () => {
  expect(() => pathAddress("/".padEnd(108, "x"))).toThrow("socket path of 108 bytes: 1 to 107");
  expect(() => pathAddress("")).toThrow("socket path of 0 bytes: 1 to 107");
  expect(() => pathAddress("/a\0b")).toThrow("socket path");
  expect(() => abstractAddress("x".repeat(108), "exact")).toThrow("of 108 bytes: 1 to 107");
  expect(() => abstractAddress("", "padded")).toThrow("of 0 bytes: 1 to 107");
});

test("the padded and the exact form of an abstract name are two addresses", () => {
  const name = freshName();
  using padded = listenUnix(abstractAddress(name, "padded"), 1);
  void padded;
  expect(errorCode(() => connectUnix(abstractAddress(name, "exact")))).toBe("ECONNREFUSED");
  using exact = listenUnix(abstractAddress(name, "exact"), 1);
  void exact;
  using first = connected(abstractAddress(name, "padded"));
  using second = connected(abstractAddress(name, "exact"));
  expect(first.number).not.toBe(second.number);
});

test("a padded abstract name is the one that fills the whole of sun_path", () => {
  const name = freshName();
  using listener = listenUnix(abstractAddress(name, "padded"), 1);
  void listener;
  const text = readFileSync("/proc/net/unix", "utf8");
  // The kernel shows each NUL of an abstract name as @ (proc(5)).
  expect(text).toContain(`@${name}${"@".repeat(107 - name.length)}\n`);
});

test("connecting to a path that is not there is ENOENT, to one nobody listens on ECONNREFUSED", () => {
  const path = `${temporaryDirectory()}/s`;
  expect(errorCode(() => connectUnix(pathAddress(path)))).toBe("ENOENT");
  listenUnix(pathAddress(path), 1).close();
  expect(errorCode(() => connectUnix(pathAddress(path)))).toBe("ECONNREFUSED");
  const error = errorOf(() => connectUnix(pathAddress(path)));
  expect(error.message).toBe(`connect on ${path}: ECONNREFUSED`);
});

test("a second listener on the same name is EADDRINUSE", () => {
  const address = abstractAddress(freshName(), "exact");
  using listener = listenUnix(address, 1);
  void listener;
  expect(errorCode(() => listenUnix(address, 1))).toBe("EADDRINUSE");
});

test("a full backlog is told at once, and there is room again after an accept", async () => {
  const address = abstractAddress(freshName(), "exact");
  using listener = listenUnix(address, 0);
  using first = connected(address);
  expect(connectUnix(address)).toBe("full");
  const accepted = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    socket.destroy();
    accepted.resolve();
  });
  server.listen({ fd: listener.take() });
  await accepted.promise;
  using second = connected(address);
  expect([first.open, second.open]).toEqual([true, true]);
  await new Promise((resolve) => {
    server.close(resolve);
  });
});

test("a connected stream is in blocking mode and close-on-exec", () => {
  const address = abstractAddress(freshName(), "exact");
  using listener = listenUnix(address, 1);
  void listener;
  using socket = connected(address);
  expect(descriptorFlags(socket.number) & O_NONBLOCK).toBe(0);
  expect(descriptorFlags(socket.number) & O_CLOEXEC).toBe(O_CLOEXEC);
});

test("sending into a full socket sends what fits, then nothing, and never waits", () => {
  const [a, b] = socketPair();
  using left = a;
  using right = b;
  const much = new Uint8Array(4 * transferSize).fill(7);
  let total = 0;
  for (let sent = send(left.number, much); sent > 0; sent = send(left.number, much)) total += sent;
  expect(total).toBeGreaterThan(transferSize);
  expect(send(left.number, much)).toBe(0);
  let drained = 0;
  for (;;) {
    const piece = receive(right.number, transferSize);
    if (typeof piece === "string") break;
    drained += piece.length;
  }
  expect(drained).toBe(total);
  expect(send(left.number, Buffer.from("room"))).toBe(4);
});

test("bytes longer than the arena's room arrive whole and in order", () => {
  const [a, b] = socketPair();
  using left = a;
  using right = b;
  const message = new Uint8Array(transferSize + 12_345).map((_, i) => i % 251);
  const pieces: Uint8Array[] = [];
  let sent = 0;
  while (sent < message.length) {
    sent += send(left.number, message.subarray(sent));
    for (let piece = receive(right.number, 1 << 20); typeof piece !== "string";) {
      pieces.push(piece);
      piece = receive(right.number, 1 << 20);
    }
  }
  expect(Buffer.concat(pieces).equals(Buffer.from(message))).toBe(true);
});

test("receives no more than it is asked for", () => {
  const [a, b] = socketPair();
  using left = a;
  using right = b;
  send(left.number, Buffer.from("abcdef"));
  expect(receive(right.number, 2)).toEqual(new Uint8Array(Buffer.from("ab")));
  expect(receive(right.number, 4)).toEqual(new Uint8Array(Buffer.from("cdef")));
});

test("an empty socket is not an ended one", () => {
  const [a, b] = socketPair();
  using left = a;
  using right = b;
  expect(receive(right.number, 1)).toBe("empty");
  left.close();
  expect(receive(right.number, 1)).toBe("end");
});

test("sending to a peer that is gone is EPIPE, not a deadly signal", () => {
  const [a, b] = socketPair();
  using left = a;
  b.close();
  expect(errorCode(() => send(left.number, Buffer.from("x")))).toBe("EPIPE");
});

test("a peer that closed with our bytes unread is ECONNRESET once, then the end", () => {
  const [a, b] = socketPair();
  using left = a;
  send(left.number, Buffer.from("unread"));
  b.close();
  expect(errorCode(() => receive(left.number, 1))).toBe("ECONNRESET");
  expect(receive(left.number, 1)).toBe("end");
});

test("after a shutdown both sides see the end", () => {
  const [a, b] = socketPair();
  using left = a;
  using right = b;
  shutdown(left.number);
  expect(receive(right.number, 1)).toBe("end");
  expect(receive(left.number, 1)).toBe("end");
});

test("sending on a number that is no descriptor is EBADF and names it", () => {
  expect(errorOf(() => send(1_000_000, Buffer.from("x"))).message).toBe(
    "send on fd 1000000: EBADF",
  );
});

test("says why a descriptor is not a Unix stream socket", async () => {
  const directory = temporaryDirectory();
  using file = new OwnedFd(openSync("/dev/null", "r"));
  const { readEnd, writeEnd } = makePipe();
  using reader = readEnd;
  using writer = writeEnd;
  using listener = listenUnix(pathAddress(`${directory}/s`), 1);
  expect(whyNotStream(file.number)).toBe("it is not a socket");
  expect(whyNotStream(reader.number)).toBe("it is not a socket");
  expect(whyNotStream(writer.number)).toBe("it is not a socket");
  expect(whyNotStream(listener.number)).toBe("it is a listening socket");
  expect(whyNotStream(1_000_000)).toBe("it is not open");
  using datagrams = new OwnedFd(libc.socket(C.AF_UNIX, 2, 0));
  using lonely = new OwnedFd(libc.socket(C.AF_UNIX, C.SOCK_STREAM, 0));
  expect(whyNotStream(datagrams.number)).toBe("it is not a stream socket");
  expect(whyNotStream(lonely.number)).toBe("it is not connected");
});

test("a stream whose peer is gone, or has data waiting, is still one to talk on", () => {
  const [a, b] = socketPair();
  using left = a;
  send(b.number, Buffer.from("waiting"));
  expect(whyNotStream(left.number)).toBeUndefined();
  b.close();
  expect(whyNotStream(left.number)).toBeUndefined();
});

test("says that TCP and datagram sockets are not Unix stream sockets", async () => {
  const before = openDescriptors();
  const udp = await Bun.udpSocket({});
  const tcp = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const opened = [...openDescriptors()].filter(
    ([fd, what]) => what.startsWith("socket:") && before.get(fd) !== what,
  );
  try {
    const answers = opened.map(([fd]) => whyNotStream(fd));
    expect(answers).toEqual(["it is not a Unix socket", "it is not a Unix socket"]);
  } finally {
    udp.close();
    tcp.stop(true);
  }
});

test("a message survives tens of thousands of sends and collections of garbage", () => {
  const [a, b] = socketPair();
  using left = a;
  using right = b;
  let wrong = 0;
  hammer((round) => {
    const text = `message ${round}`;
    send(left.number, Buffer.from(text));
    const got = receive(right.number, 64);
    if (typeof got === "string" || Buffer.from(got).toString() !== text) wrong += 1;
  });
  expect(wrong).toBe(0);
});

test("an address survives tens of thousands of connects and collections of garbage", () => {
  const path = `${temporaryDirectory()}/absent`;
  const codes = new Map<string, number>();
  hammer((round) => {
    const code = errorCode(() => connectUnix(pathAddress(round % 2 === 0 ? path : "/dev/null")));
    codes.set(code, (codes.get(code) ?? 0) + 1);
  });
  expect(Object.fromEntries(codes)).toEqual({ ENOENT: 30_000, ECONNREFUSED: 30_000 });
});

test("what has become of a peer is known while nobody reads: there, ended, gone", async () => {
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => accepted.resolve(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const client = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => {} } });
  const { fd } = client as unknown as { readonly fd: number };
  client.pause();
  const peer = await accepted.promise;
  expect(peerState(fd)).toBe("there");
  peer.end("bytes before the end");
  await until("it has ended", () => peerState(fd) === "ended");
  peer.resetAndDestroy();
  await until("it is gone", () => peerState(fd) === "gone");
  client.terminate();
  server.close();
  const [left, right] = socketPair();
  expect(peerState(left.number)).toBe("there");
  left.close();
  right.close();
});
