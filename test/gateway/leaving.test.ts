/**
 * Visitors who send anything in any pieces and leave at any moment: every request ends once, no
 * mistake of ours shows, and nothing is left behind.
 */
import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { until } from "../helpers/condition.ts";
import { descriptorChanges, openDescriptors } from "../helpers/descriptors.ts";
import { app, configOf, gateways } from "./support.ts";

const gateway = gateways();

/** A small generator of numbers, so that a failure can be had again (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below);
  };
}

const long = "x".repeat(70_000);
const requests = [
  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /nowhere HTTP/1.1\r\nHost: nobody\r\n\r\n",
  "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${long.length}\r\n\r\n${long}`,
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
  "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
  "GET / HTTP/1.0\r\n\r\n",
  "GET /\0 HTTP/1.1\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n",
  "\r\n",
];

/** One visitor: some requests in random pieces, then an end of some kind. */
async function visit(port: number, random: (below: number) => number): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {});
  if (random(4) > 0) socket.resume();
  const gone = new Promise((resolve) => socket.on("close", resolve));
  const count = 1 + random(4);
  let text = "";
  for (let i = 0; i < count; i += 1) text += requests[random(requests.length)] ?? "";
  for (let at = 0; at < text.length && !socket.destroyed;) {
    const length = random(3) === 0 ? 1 + random(20) : 1 + random(text.length);
    socket.write(Buffer.from(text.slice(at, at + length), "latin1"));
    at += length;
    if (random(2) === 0) await Bun.sleep(random(8));
  }
  await Bun.sleep(random(40));
  endOf(socket, random(4));
  await gone;
}

function endOf(socket: Socket, how: number): void {
  if (how === 0) return void socket.destroy();
  if (how === 1) return void socket.resetAndDestroy();
  socket.end();
  socket.resume();
  setTimeout(() => socket.destroy(), how === 2 ? 5 : 300);
}

for (const buffers of [true, false]) {
  test(`visitors who leave at any moment leave nothing behind (buffered: ${buffers})`, async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = randomOf(seed);
    const before = openDescriptors();
    const main = app("main", { hosts: ["a"], bufferRequests: buffers, bufferAnswers: buffers });
    const limits = { ...configOf().limits, maxBodyBytes: 128 * 1024 };
    const site = gateway({ apps: [main], limits });
    const big = "b".repeat(1_000_000);
    site.behave = async ({ target }) => {
      if (target === "/slow") await Bun.sleep(20);
      return target === "/big" ? new Response(big) : undefined;
    };
    for (let round = 0; round < 6; round += 1) {
      await Promise.all(Array.from({ length: 25 }, () => visit(site.port, random)));
    }
    const opened = () =>
      descriptorChanges(before, openDescriptors()).filter((change) => change.startsWith("opened"));
    const state = () => ({ seed, logged: site.logged, opened: opened() });
    await until("all connections are over", () => site.connections === 0, state);
    expect({ seed, logged: site.logged.filter((line) => line.includes("internal")) }).toEqual({
      seed,
      logged: [],
    });
    const ids = site.done.map(({ id }) => id);
    expect({ seed, repeated: ids.length - new Set(ids).size }).toEqual({ seed, repeated: 0 });
    const answer = await fetch(site.url("/"), { headers: { Host: "a" } });
    expect(await answer.text()).toBe("reached");
    site.stop();
    await until("no descriptor is left", () => opened().length === 0, state);
  });
}
