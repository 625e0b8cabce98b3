/** Streams to ports of this machine, and who listens there: against the kernel. */
import { expect, test } from "bun:test";
import { createServer } from "node:net";

import { listenerAt } from "../../src/native/listener-lookup.ts";
import { connectLoopback, isFreePort, socketsOf, tcpListeners } from "../../src/native/loopback.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { countDescriptors } from "../helpers/descriptors.ts";

countDescriptors();

async function listening<T>(
  host: string,
  body: (port: number) => T | Promise<T>,
  backlog = 128,
): Promise<T> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen({ host, port: 0, backlog }, resolve));
  const address = server.address();
  try {
    return await body(typeof address === "object" ? (address?.port ?? 0) : 0);
  } finally {
    await new Promise((resolve) => void server.close(resolve));
  }
}

test.each([
  ["127.0.0.1", true],
  ["0.0.0.0", true],
  ["::", true],
  ["::ffff:127.0.0.1", true],
  ["::1", false],
  ["127.0.0.2", false],
])("who listens on %s is found, and whether 127.0.0.1 leads there: %p", (host, isLocal) =>
  listening(host, (port) => {
    const found = tcpListeners().filter((listener) => listener.port === port);
    expect(found).toMatchObject([{ port, isLocal, uid: process.getuid?.() ?? -1 }]);
    expect(socketsOf(process.pid)?.has(found[0]?.inode ?? "")).toBe(true);
  }),
);

test("a port that is listened on is not free, and is connected to; one that is free is not", async () => {
  const free = await listening("127.0.0.1", (port) => {
    expect(isFreePort(port)).toBe(false);
    const stream = connectLoopback(port);
    if (stream === "full") throw new Error("no room");
    stream.close();
    return port;
  });
  expect(() => connectLoopback(free)).toThrow("ECONNREFUSED");
});

test("a listener that accepts nothing is full after a while, and nobody waits for it", async () => {
  const program = 'import socket,sys,time\ns=socket.socket()\ns.bind(("127.0.0.1",0))\n';
  const rest = "s.listen(1)\nprint(s.getsockname()[1],flush=True)\ntime.sleep(60)\n";
  await using child = Bun.spawn(["python3", "-c", program + rest], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { value } = await child.stdout.getReader().read();
  const port = Number(String.fromCharCode(...(value ?? [])));
  const streams: OwnedFd[] = [];
  for (let stream = connectLoopback(port); stream !== "full"; stream = connectLoopback(port)) {
    streams.push(stream);
    if (streams.length > 10) break;
  }
  expect(streams.length).toBeLessThan(10);
  for (const stream of streams) stream.close();
  child.kill();
  await child.exited;
});

test("the sockets of a process that has ended are none", () => {
  expect(socketsOf(2 ** 22 - 1)).toEqual(new Set());
});

test.each([
  ["127.0.0.1", true],
  ["0.0.0.0", true],
  ["::", true],
  ["::ffff:127.0.0.1", true],
  ["::1", false],
  ["127.0.0.2", false],
])("the kernel says who is connected to that listens on %s: %p", (host, isLocal) =>
  listening(host, (port) => {
    const inTable = tcpListeners().find((listener) => listener.port === port);
    const { uid, inode } = inTable ?? {};
    expect(listenerAt(port)).toEqual(isLocal ? { uid: uid ?? -1, inode: inode ?? "" } : undefined);
  }),
);

test("it is found among any number of others, and nobody where nobody listens", async () => {
  const program = `import resource, socket, time
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for i in range(min(hard - 50, 15_000)):
    s = socket.socket()
    s.bind((f"127.1.{i // 250}.{i % 250 + 1}", 0))
    s.listen(1)
    held.append(s)
print("listening", flush=True)
time.sleep(60)
`;
  const children = [0, 1].map(() =>
    Bun.spawn(["python3", "-c", program], { stdio: ["ignore", "pipe", "ignore"] }),
  );
  try {
    for (const { stdout } of children) await stdout.getReader().read();
    const free = await listening("127.0.0.1", (port) => {
      expect(listenerAt(port)).toMatchObject({ uid: process.getuid?.() ?? -1 });
      return port;
    });
    expect(listenerAt(free)).toBe(undefined);
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => child.exited));
  }
}, 60_000);
