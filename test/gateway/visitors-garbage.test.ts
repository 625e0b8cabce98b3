/** What of connections that have ended is left for the garbage collector. */
import { edenGC, fullGC, heapStats } from "bun:jsc";
import { expect, test } from "bun:test";

import { temporaryDirectories } from "../helpers/temporary.ts";
import { ProxiedGateway } from "./proxied.ts";

const temporaryDirectory = temporaryDirectories();

const atOnce = 16;
const each = 20;
const rounds = 4;

/** Asks what no request is, and waits for the end. */
async function visit(port: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void socket.write("no request\r\n\r\n"),
      data: () => {},
      close: () => resolve(),
      error: () => resolve(),
    },
  });
  await promise;
}

async function visitAll(port: number): Promise<void> {
  const visitor = async (): Promise<void> => {
    for (let count = 0; count < each; count += 1) await visit(port);
  };
  await Promise.all(Array.from({ length: atOnce }, visitor));
}

function sockets(): number {
  return heapStats().objectTypeCounts["TCPSocket"] ?? 0;
}

test("collections of young garbage leave nothing of visitors who have left", async () => {
  await using gateway = ProxiedGateway.start(temporaryDirectory(), { main: "" });
  await visitAll(gateway.port);
  fullGC();
  const before = sockets();
  for (let round = 0; round < rounds; round += 1) {
    await visitAll(gateway.port);
    edenGC();
  }
  // Some of the last before a collection are still at hand at it, on either side.
  expect(sockets() - before).toBeLessThan((rounds * atOnce * each) / 4);
});
