/**
 * Descriptors over sockets, against the real kernel: what arrives, what is lost, and that nothing
 * stays open.
 */
import { expect, test } from "bun:test";
import { closeSync, fstatSync, openSync } from "node:fs";

import {
  DescriptorError,
  receiveDescriptor,
  sendDescriptor,
  sendWithDescriptor,
} from "../../src/native/descriptors.ts";
import { isOpen } from "../../src/native/fd.ts";
import { address, arenaBytes, arenaView, libc, putWord, reserve } from "../../src/native/libc.ts";
import { C, cmsghdr, iovec, msghdr } from "../../src/native/layout.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { makePipe } from "../../src/native/pipe.ts";
import { receive, send, socketPair, transferSize } from "../../src/native/socket.ts";
import { hammer } from "../helpers/collect.ts";
import {
  countDescriptors,
  descriptorFlags,
  exhaustDescriptors,
  O_CLOEXEC,
} from "../helpers/descriptors.ts";
import { errorCode, errorOf } from "../helpers/errors.ts";

countDescriptors();

/** A connected pair for one test's block. */
function pair(): { left: OwnedFd; right: OwnedFd } & Disposable {
  const [left, right] = socketPair();
  return {
    left,
    right,
    [Symbol.dispose]() {
      left.close();
      right.close();
    },
  };
}

/** A descriptor to send: one end of a pipe, so that its file is nobody else's. */
function something(): OwnedFd {
  const { readEnd, writeEnd } = makePipe();
  writeEnd.close();
  return readEnd;
}

function received(socket: number): OwnedFd {
  const result = receiveDescriptor(socket);
  if (typeof result === "string") throw new Error(`expected a descriptor, got ${result}`);
  return result;
}

function sameFile(a: number, b: number): boolean {
  const [first, second] = [fstatSync(a), fstatSync(b)];
  return first.dev === second.dev && first.ino === second.ino;
}

function text(data: Uint8Array | string): string {
  return typeof data === "string" ? data : Buffer.from(data).toString("latin1");
}

/** Fills a socket with bytes until not one more fits. */
function fill(socket: number): number {
  let total = 0;
  for (const size of [transferSize, 1024, 1]) {
    const piece = new Uint8Array(size).fill(65);
    for (let sent = send(socket, piece); sent > 0; sent = send(socket, piece)) total += sent;
  }
  return total;
}

/** Sends one message by hand: `data`, and `fds` in one control message. */
const handMade = {
  header: reserve(msghdr.size),
  iovec: reserve(iovec.size),
  data: reserve(16),
  control: reserve(256),
};

function sendByHand(socket: number, data: string, fds: readonly number[]): void {
  const { header, control } = handMade;
  arenaBytes.set(Buffer.from(data, "latin1"), handMade.data);
  putWord(handMade.iovec + iovec.base, address(handMade.data));
  putWord(handMade.iovec + iovec.len, data.length);
  putWord(header + msghdr.iov, address(handMade.iovec));
  putWord(header + msghdr.iovlen, 1);
  const length = cmsghdr.data + 4 * fds.length;
  putWord(header + msghdr.control, fds.length === 0 ? 0 : address(control));
  putWord(header + msghdr.controllen, fds.length === 0 ? 0 : (length + 7) & ~7);
  putWord(control + cmsghdr.len, length);
  arenaView.setInt32(control + cmsghdr.level, C.SOL_SOCKET, true);
  arenaView.setInt32(control + cmsghdr.type, C.SCM_RIGHTS, true);
  for (const [i, fd] of fds.entries()) arenaView.setInt32(control + cmsghdr.data + 4 * i, fd, true);
  const sent = Number(libc.sendmsg(socket, address(header), C.MSG_NOSIGNAL));
  if (sent !== data.length) throw new Error(`sendmsg sent ${sent}`);
}

test("a descriptor arrives as another number for the same file, close-on-exec; the sender keeps its own", () => {
  using sockets = pair();
  using sent = something();
  expect(sendDescriptor(sockets.left.number, sent.number)).toBe(true);
  using got = received(sockets.right.number);
  expect(got.number).not.toBe(sent.number);
  expect(sameFile(got.number, sent.number)).toBe(true);
  expect(descriptorFlags(got.number) & O_CLOEXEC).toBe(O_CLOEXEC);
  expect(isOpen(sent.number)).toBe(true);
});

test("a descriptor is one data byte of value 0, for those who only read", () => {
  using sockets = pair();
  using sent = something();
  sendDescriptor(sockets.left.number, sent.number);
  expect(receive(sockets.right.number, 100)).toEqual(new Uint8Array([0]));
});

test("a reply and its descriptor are two messages: a large read of the reply does not reach the descriptor", () => {
  using sockets = pair();
  using sent = something();
  const result = sendWithDescriptor(sockets.left.number, Buffer.from("reply"), sent.number);
  expect(result).toEqual({ bytes: 5, descriptor: true });
  expect(text(receive(sockets.right.number, 5))).toBe("reply");
  using got = received(sockets.right.number);
  expect(sameFile(got.number, sent.number)).toBe(true);
});

test("bytes sent after a descriptor do not merge with its byte", () => {
  using sockets = pair();
  using sent = something();
  sendDescriptor(sockets.left.number, sent.number);
  send(sockets.left.number, Buffer.from("after"));
  using got = received(sockets.right.number);
  expect(sameFile(got.number, sent.number)).toBe(true);
  expect(text(receive(sockets.right.number, 100))).toBe("after");
});

test("the largest reply that a frame can hold goes out with its descriptor", () => {
  using sockets = pair();
  using sent = something();
  const reply = new Uint8Array(2 + 65_535).map((_, i) => i % 253);
  const result = sendWithDescriptor(sockets.left.number, reply, sent.number);
  expect(result).toEqual({ bytes: reply.length, descriptor: true });
  const pieces: Uint8Array[] = [];
  for (let left = reply.length; left > 0;) {
    const piece = receive(sockets.right.number, left);
    if (typeof piece === "string") throw new Error(piece);
    pieces.push(piece);
    left -= piece.length;
  }
  expect(Buffer.concat(pieces).equals(Buffer.from(reply))).toBe(true);
  using got = received(sockets.right.number);
  expect(sameFile(got.number, sent.number)).toBe(true);
});

test("a reply longer than a frame is our own mistake and is refused before anything is sent", () => {
  using sockets = pair();
  using sent = something();
  const tooLong = new Uint8Array(2 + 65_536);
  expect(() => sendWithDescriptor(sockets.left.number, tooLong, sent.number)).toThrow(
    "65538 bytes",
  );
  expect(receive(sockets.right.number, 1)).toBe("empty");
});

test("a socket holds 278 unread descriptors; the next is not sent, and there is room again after one was read", () => {
  using sockets = pair();
  using sent = something();
  let count = 0;
  while (sendDescriptor(sockets.left.number, sent.number)) count += 1;
  expect(count).toBe(278);
  received(sockets.right.number).close();
  expect(sendDescriptor(sockets.left.number, sent.number)).toBe(true);
  for (let left = 278; left > 0; left -= 1) received(sockets.right.number).close();
  expect(receiveDescriptor(sockets.right.number)).toBe("empty");
});

test("neither reply nor descriptor is sent into a full socket", () => {
  using sockets = pair();
  using sent = something();
  fill(sockets.left.number);
  const result = sendWithDescriptor(sockets.left.number, Buffer.from("reply"), sent.number);
  expect(result).toEqual({ bytes: 0, descriptor: false });
});

test("a reply that fits only in part goes without its descriptor, and tells how much went", () => {
  const reply = new Uint8Array(65_537).fill(66);
  let partial = 0;
  // How full the buffer is when a send goes out in part depends on the kernel: try several.
  for (let room = 0; room < 16; room += 1) {
    using sockets = pair();
    using sent = something();
    for (let i = 0; i < room; i += 1) send(sockets.left.number, new Uint8Array(16 * 1024));
    const result = sendWithDescriptor(sockets.left.number, reply, sent.number);
    if (result.bytes < reply.length) expect(result.descriptor).toBe(false);
    if (result.bytes > 0 && result.bytes < reply.length) {
      partial += 1;
      let arrived = 0;
      for (;;) {
        const piece = receive(sockets.right.number, transferSize);
        if (typeof piece === "string") break;
        arrived += piece.length;
      }
      expect(arrived).toBe(room * 16 * 1024 + result.bytes);
    }
  }
  expect(partial).toBeGreaterThan(0);
});

test("a reply that went out whole can leave its descriptor behind, which is then still ours to send", () => {
  using sockets = pair();
  using sent = something();
  let result = { bytes: 0, descriptor: true };
  let rounds = 0;
  // 278 messages of any kind fill the queue: some reply goes out and its descriptor does not.
  while (result.descriptor) {
    result = sendWithDescriptor(sockets.left.number, Buffer.from("r"), sent.number);
    rounds += 1;
    if (!result.descriptor && result.bytes === 0) {
      // The queue ended between two pairs: one byte more shifts it.
      receive(sockets.right.number, 1);
      result = sendWithDescriptor(sockets.left.number, Buffer.from("r"), sent.number);
    }
  }
  expect(result).toEqual({ bytes: 1, descriptor: false });
  expect(rounds).toBeGreaterThan(100);
});

test("nothing there is `empty`, a closed peer is `end`", () => {
  using sockets = pair();
  expect(receiveDescriptor(sockets.right.number)).toBe("empty");
  sockets.left.close();
  expect(receiveDescriptor(sockets.right.number)).toBe("end");
});

test("a byte without a descriptor is an error, and only that byte is taken", () => {
  using sockets = pair();
  send(sockets.left.number, Buffer.from("xy"));
  const error = errorOf(() => receiveDescriptor(sockets.right.number));
  expect(error).toBeInstanceOf(DescriptorError);
  expect(error.message).toEndWith("the byte came without one");
  expect((error as DescriptorError).lost).toBe(false);
  expect(text(receive(sockets.right.number, 10))).toBe("y");
});

test("several descriptors in one message are an error, and none of them stays open", () => {
  using sockets = pair();
  using first = something();
  using second = something();
  sendByHand(sockets.left.number, "\0", [first.number, second.number, first.number]);
  const error = errorOf(() => receiveDescriptor(sockets.right.number));
  expect(error.message).toEndWith("3 came at once");
});

test("more descriptors than any message of ours has room for are an error, and none of them stays open", () => {
  using sockets = pair();
  using sent = something();
  const many = Array.from({ length: 58 }, () => sent.number);
  sendByHand(sockets.left.number, "\0", many);
  expect(errorOf(() => receiveDescriptor(sockets.right.number)).message).toContain("at once");
});

test("a descriptor for which there is no room is lost, told apart from a peer's mistake, and the stream goes on", () => {
  using sockets = pair();
  using sent = something();
  sendDescriptor(sockets.left.number, sent.number);
  sendDescriptor(sockets.left.number, sent.number);
  let error: Error;
  {
    using none = exhaustDescriptors(0);
    void none;
    error = errorOf(() => receiveDescriptor(sockets.right.number));
  }
  expect(error).toBeInstanceOf(DescriptorError);
  expect((error as DescriptorError).lost).toBe(true);
  expect(error.message).toContain("MSG_CTRUNC");
  using next = received(sockets.right.number);
  expect(sameFile(next.number, sent.number)).toBe(true);
});

test("of two descriptors with room for one, the one that arrived is closed", () => {
  using sockets = pair();
  using sent = something();
  sendByHand(sockets.left.number, "\0", [sent.number, sent.number]);
  using few = exhaustDescriptors(1);
  void few;
  expect(errorOf(() => receiveDescriptor(sockets.right.number)).message).toContain("MSG_CTRUNC");
  // The one free place is free again: the next open has it.
  closeSync(openSync("/dev/null", "r"));
});

test("sending to a peer that is gone is EPIPE", () => {
  using sockets = pair();
  using sent = something();
  sockets.right.close();
  expect(errorCode(() => sendDescriptor(sockets.left.number, sent.number))).toBe("EPIPE");
  const reply = Buffer.from("reply");
  expect(errorCode(() => sendWithDescriptor(sockets.left.number, reply, sent.number))).toBe(
    "EPIPE",
  );
});

test("sending what is no descriptor is EBADF, and nothing is sent", () => {
  using sockets = pair();
  expect(errorCode(() => sendDescriptor(sockets.left.number, 1_000_000))).toBe("EBADF");
  expect(receive(sockets.right.number, 1)).toBe("empty");
});

test("descriptors on their way are closed by the kernel when nobody takes them", () => {
  const { left, right } = pair();
  const { readEnd, writeEnd } = makePipe();
  using reader = readEnd;
  sendDescriptor(left.number, writeEnd.number);
  writeEnd.close();
  left.close();
  // The write end is only in the socket's queue now; the pipe ends with it.
  right.close();
  const ended = Bun.spawnSync(["cat"], { stdin: reader.number });
  expect(ended.exitCode).toBe(0);
});

test("60,000 replies with descriptors arrive as they were sent, with collections of garbage in between", () => {
  using sockets = pair();
  using first = something();
  using second = something();
  const inodes = [first, second].map((fd) => fstatSync(fd.number).ino);
  let wrong = 0;
  hammer((round) => {
    const sent = round % 2 === 0 ? first : second;
    const reply = `ok ${round}`;
    sendWithDescriptor(sockets.left.number, Buffer.from(reply), sent.number);
    if (text(receive(sockets.right.number, reply.length)) !== reply) wrong += 1;
    using got = received(sockets.right.number);
    if (fstatSync(got.number).ino !== inodes[round % 2]) wrong += 1;
  });
  expect(wrong).toBe(0);
});
