/** Listening sockets against the real kernel: addresses, sharing a port, being inherited. */
import { expect, test } from "bun:test";
import { join } from "node:path";

import {
  adoptListener,
  isIpAddress,
  listenPath,
  listenShared,
  listenTcp,
  localAddress,
  showTcp,
  type TcpAddress,
} from "../../src/native/listening-socket.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { makePipe } from "../../src/native/pipe.ts";
import { listenUnix, abstractAddress, pathAddress, socketPair } from "../../src/native/socket.ts";
import {
  countDescriptors,
  descriptorFlags,
  O_CLOEXEC,
  O_NONBLOCK,
} from "../helpers/descriptors.ts";
import { errorCode } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

const anyPort: TcpAddress = { kind: "tcp", host: "127.0.0.1", port: 0 };

function closeAll(sockets: readonly OwnedFd[]): void {
  for (const socket of sockets) socket.close();
}

function tcpAddressOf(socket: OwnedFd | undefined): TcpAddress {
  const found = socket === undefined ? undefined : localAddress(socket.number);
  if (found?.kind !== "tcp") throw new Error("no TCP socket");
  return found;
}

test("addresses in numbers are told from names", () => {
  for (const text of ["127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1", "::ffff:1.2.3.4"]) {
    expect(isIpAddress(text)).toBe(true);
  }
  for (const text of [
    "",
    "localhost",
    "1.2.3",
    "1.2.3.4.5",
    "[::1]",
    ":::",
    "1.2.3.4\0",
    "x".repeat(9999),
  ]) {
    expect(isIpAddress(text)).toBe(false);
  }
});

test("with port 0, all sockets get the one port that the kernel picks", () => {
  const sockets = listenTcp(anyPort, 3);
  const ports = new Set(sockets.map((socket) => tcpAddressOf(socket).port));
  expect(sockets).toHaveLength(3);
  expect(ports.size).toBe(1);
  expect([...ports][0]).toBeGreaterThan(0);
  for (const { number } of sockets) {
    expect(descriptorFlags(number) & (O_CLOEXEC | O_NONBLOCK)).toBe(O_CLOEXEC | O_NONBLOCK);
  }
  closeAll(sockets);
});

test("an address in use is refused, although its sockets would share it", () => {
  const sockets = listenTcp(anyPort, 2);
  const address = tcpAddressOf(sockets[0]);
  expect(errorCode(() => closeAll(listenTcp(address, 1)))).toBe("EADDRINUSE");
  closeAll(listenShared(address, 2));
  closeAll(sockets);
  closeAll(listenTcp(address, 1));
});

test("connections are spread over the sockets of one address", async () => {
  const sockets = listenTcp(anyPort, 2);
  const { port } = tcpAddressOf(sockets[0]);
  const clients = await Promise.all(
    Array.from({ length: 64 }, () =>
      Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } }),
    ),
  );
  for (const socket of sockets) expect(queueLength(socket)).toBeGreaterThan(0);
  for (const client of clients) client.end();
  closeAll(sockets);
});

/** Connections that wait to be accepted: Recv-Q of a listening socket (ss(8)), by its inode. */
function queueLength(socket: OwnedFd): number {
  const inode = /\[(\d+)\]/.exec(
    Bun.spawnSync(["readlink", `/proc/${process.pid}/fd/${socket.number}`]).stdout.toString(),
  )?.[1];
  const lines = Bun.spawnSync(["cat", "/proc/net/tcp"]).stdout.toString().split("\n");
  const line = lines.find((text) => text.trim().split(/\s+/)[9] === inode) ?? "";
  return Number.parseInt(line.trim().split(/\s+/)[4]?.split(":")[1] ?? "0", 16);
}

test("IPv6: its own address family, and 0.0.0.0 beside :: on one port", () => {
  const [six] = listenTcp({ kind: "tcp", host: "::", port: 0 }, 1);
  const address = tcpAddressOf(six);
  expect(address.host).toBe("::");
  expect(showTcp(address)).toBe(`[::]:${address.port}`);
  closeAll(listenTcp({ kind: "tcp", host: "0.0.0.0", port: address.port }, 1));
  six?.close();
});

test("names are read back: TCP, path, abstract, none", () => {
  const path = join(temporaryDirectory(), "söcket");
  using onPath = listenPath(path);
  expect(localAddress(onPath.number)).toEqual({ kind: "unix", path });
  using hidden = listenUnix(abstractAddress(`pool-name-${process.pid}`, "exact"), 1);
  expect(localAddress(hidden.number)).toEqual({ kind: "unix", path: `@pool-name-${process.pid}` });
  const [left, right] = socketPair();
  expect(localAddress(left.number)).toEqual({ kind: "unix", path: "" });
  closeAll([left, right]);
});

test("an inherited listener becomes non-blocking and close-on-exec; what is none is told why", () => {
  const path = join(temporaryDirectory(), "s");
  using listener = listenUnix(pathAddress(path), 1);
  expect(adoptListener(listener.number)).toEqual({ kind: "unix", path });
  expect(descriptorFlags(listener.number) & (O_CLOEXEC | O_NONBLOCK)).toBe(O_CLOEXEC | O_NONBLOCK);
  const { readEnd, writeEnd } = makePipe();
  expect(adoptListener(readEnd.number)).toBe("it is not a socket");
  const pair = socketPair();
  expect(adoptListener(pair[0].number)).toBe("it is not a listening stream socket");
  expect(adoptListener(999_999)).toBe("it is not a socket");
  closeAll([readEnd, writeEnd, ...pair]);
});
