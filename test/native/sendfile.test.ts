/** sendfile(2): what is sent, and what its refusals are called. */
import { expect, test } from "bun:test";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { SyscallError } from "../../src/native/errno.ts";
import { open, setNonBlocking } from "../../src/native/fd.ts";
import { sendFile } from "../../src/native/sendfile.ts";
import { receive, socketPair } from "../../src/native/socket.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
countDescriptors();

test("a part goes out, the socket fills, and beyond the end there is nothing", () => {
  const path = join(temporaryDirectory(), "file");
  writeFileSync(path, Buffer.alloc(1_000_000, "0123456789"));
  using file = open(path, "read");
  const [ours, theirs] = socketPair();
  using sender = ours;
  using receiver = theirs;
  setNonBlocking(sender.number, true);
  expect(sendFile(sender.number, file.number, 3, 4)).toBe(4);
  expect(Buffer.from(receive(receiver.number, 100) as Uint8Array).toString()).toBe("3456");
  expect(sendFile(sender.number, file.number, 1_000_000, 4)).toBe(0);
  let offset = 0;
  let sent: ReturnType<typeof sendFile> = 0;
  while (typeof sent === "number" && offset < 1_000_000) {
    sent = sendFile(sender.number, file.number, offset, 1_000_000 - offset);
    if (typeof sent === "number") offset += sent;
  }
  expect(sent).toBe("full");
});

test("a file that the kernel cannot send is `unsupported`, a peer that is gone an error", () => {
  const [ours, theirs] = socketPair();
  using sender = ours;
  const fd = openSync("/proc/self/status", "r");
  try {
    expect(sendFile(sender.number, fd, 0, 10)).toBe("unsupported");
  } finally {
    closeSync(fd);
  }
  theirs.close();
  using file = open(import.meta.path, "read");
  expect(() => sendFile(sender.number, file.number, 0, 10)).toThrow(SyscallError);
  expect(() => sendFile(sender.number, file.number, 0, 10)).toThrow("EPIPE");
});
