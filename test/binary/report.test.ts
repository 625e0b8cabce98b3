/** Section 8: the status report as tools get it. */
import { expect, test } from "bun:test";
import { existsSync, unlinkSync, writeFileSync } from "node:fs";

import { within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverTests, withEndingServer, type ServerUnderTest } from "../helpers/pool-server.ts";

countDescriptors();
const binaryTest = serverTests("binary");

async function report(server: ServerUnderTest): Promise<string> {
  await using child = Bun.spawn(["cat", server.files.fifo], { stdin: "ignore" });
  return await within("the report", child.stdout.text());
}

binaryTest("the report is that of 2.0, byte for byte", { statusFifo: true }, async (server) => {
  const client = await server.connect();
  const [b, a] = [
    await client.get(server.app("padded-b")),
    await client.get(server.app("padded-a")),
  ];
  const second = await client.get(server.app("padded-b"));
  await client.closeSession(b);
  expect(await report(server)).toBe(
    [
      "----------- General information -----------",
      "max      = 20",
      "count    = 3",
      "active   = 2",
      "inactive = 1",
      "Using global queue: no",
      "Waiting on global queue: 0",
      "",
      "----------- Applications -----------",
      `${server.app("padded-a")}: `,
      `  PID: ${String(a.pid).padEnd(8)}  Sessions: 1`,
      "",
      `${server.app("padded-b")}: `,
      `  PID: ${String(b.pid).padEnd(8)}  Sessions: 0`,
      `  PID: ${String(second.pid).padEnd(8)}  Sessions: 1`,
      "",
      "",
    ].join("\n"),
  );
});

binaryTest(
  "the report tells of those who wait, and of the global queue",
  { statusFifo: true, max: 1 },
  async (server) => {
    const client = await server.connect();
    await client.send("setUseGlobalQueue", "true");
    await client.get(server.app("padded"));
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded"));
    await client.untilWaiting(1);
    expect(await report(server)).toContain("Using global queue: yes\nWaiting on global queue: 1\n");
  },
);

test("a STATUS_FIFO that has become a file by the end is left alone", async () => {
  await withEndingServer("binary", { statusFifo: true }, async (server) => {
    unlinkSync(server.files.fifo);
    writeFileSync(server.files.fifo, "precious");
    server.parent.closeClients();
    server.parent.close();
    expect(await within("its end", server.ended)).toBe(0);
    expect(existsSync(server.files.fifo)).toBe(true);
  });
});

binaryTest(
  "a reader that opens and stalls disturbs nobody",
  { statusFifo: true },
  async (server) => {
    await using stalled = Bun.spawn(["sh", "-c", 'exec sleep 60 < "$0"', server.files.fifo]);
    const client = await server.connect();
    for (let i = 0; i < 10; i += 1) {
      await client.closeSession(await client.get(server.app("padded")));
    }
    expect(stalled.killed).toBe(false);
  },
);

binaryTest(
  "a STATUS_FIFO that is missing is one warning, and the pool runs",
  { statusFifo: true, binary: { prepare: ({ fifo }) => unlinkSync(fifo) } },
  async (server) => {
    const client = await server.connect();
    await client.get(server.app("padded"));
    expect(server.log().match(/warning no status report/g)).toHaveLength(1);
    expect(server.log()).toMatch(/no status report path=.* cause="open on .*: ENOENT"/);
  },
);
