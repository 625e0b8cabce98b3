/**
 * Bodies larger than anyone wants to hold, where nothing is buffered: they wait where they are
 * until somebody reads them.
 */
import { expect, test } from "bun:test";
import type { GatewayConfig } from "../../src/gateway/config.ts";
import { until } from "../helpers/condition.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { ProxiedGateway } from "./proxied.ts";

const temporaryDirectory = temporaryDirectories();

const megabyte = 1024 * 1024;
/** Kernel buffers, Bun's and ours on the whole way hold a few of them at most. */
const heldMegabytes = 16;

const program = `
  let count = 0;
  let [arrived, gate] = [Promise.withResolvers(), Promise.withResolvers()];
  const megabyte = new Uint8Array(${megabyte});
  const paths = {
    "/count": () => new Response(String(count)),
    "/open": async () => {
      await arrived.promise; // An upload may stand still for want of a process, too.
      gate.resolve();
      [arrived, gate] = [Promise.withResolvers(), Promise.withResolvers()];
      return new Response("open");
    },
    "/down": () => new Response(new ReadableStream({
      pull(controller) {
        controller.enqueue(megabyte.slice());
        count += 1;
        if (count === 64) controller.close();
      } }, { highWaterMark: 0 })),
    "/digest": (request) => new Response(new ReadableStream({
      async start(controller) {
        controller.enqueue("begun ");
        const digest = new Bun.CryptoHasher("sha1");
        for await (const chunk of request.body) digest.update(chunk);
        controller.enqueue(digest.digest("hex"));
        controller.close();
      } })),
    "/both": (request) => new Response(new ReadableStream({
      async start(controller) {
        const told = setInterval(() => controller.enqueue("."), 100);
        const text = await request.text();
        clearInterval(told);
        controller.enqueue(text);
        controller.close();
      } })),
    "/up": async (request) => {
      arrived.resolve();
      await gate.promise;
      let size = 0;
      for await (const chunk of request.body) size += chunk.length;
      return new Response(String(size));
    },
  };
  export default { fetch: (request) => paths[new URL(request.url).pathname](request) };
`;

const limits = {
  maxHeaderBytes: 16_384,
  maxBodyBytes: 0,
  headMs: 30_000,
  idleMs: 60_000,
  queueMs: 0,
  responseMs: 0,
};
const unbuffered = { bufferRequests: false, bufferAnswers: false };

function start(changes: Partial<GatewayConfig>): ProxiedGateway {
  return ProxiedGateway.start(temporaryDirectory(), { main: program }, changes, [], unbuffered);
}

test("a download goes as fast as the visitor reads, and no further", async () => {
  await using gateway = start({});
  const response = await gateway.fetch("/down");
  const count = async (): Promise<number> => Number(await (await gateway.fetch("/count")).text());
  const reader = response.body?.getReader();
  if (reader === undefined) throw new Error("it has no body");
  await reader.read();
  // It stands still by itself: two looks apart see the same.
  let last = -1;
  await until("the download stands still", async () => {
    await Bun.sleep(100);
    const before = last;
    last = await count();
    return last > 0 && last === before;
  });
  expect(last).toBeLessThan(heldMegabytes);
  while (!(await reader.read()).done);
  expect(await count()).toBe(64);
});

test("an upload goes as fast as the application reads, and no further", async () => {
  await using gateway = start({ limits });
  for (const framing of ["Content-Length: 67108864", "Transfer-Encoding: chunked"]) {
    const visitor = await gateway.connect();
    visitor.send(`POST /up HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
    const chunk = Buffer.alloc(megabyte);
    const isChunked = framing.startsWith("T");
    const frame = isChunked
      ? Buffer.concat([Buffer.from("100000\r\n"), chunk, Buffer.from("\r\n")])
      : chunk;
    const pieces = Array.from({ length: 64 }, () => frame);
    if (isChunked) pieces.push(Buffer.from("0\r\n\r\n"));
    const upload = visitor.sendAll(pieces);
    let last = -1;
    await until("the upload stands still", async () => {
      await Bun.sleep(100);
      const before = last;
      last = visitor.sentBytes;
      return last > 0 && last === before;
    });
    expect(last).toBeLessThan(heldMegabytes * megabyte);
    expect(await (await gateway.fetch("/open")).text()).toBe("open");
    await upload;
    await visitor.has(String(64 * megabyte));
    visitor.leave();
  }
});

test.each([
  ["of a length", "Content-Length: 3145728", (part: Buffer) => [part], []],
  ["in chunks", "Transfer-Encoding: chunked", inChunk, [Buffer.from("0\r\n\r\n")]],
])("an upload %s is read to its end by an application that has begun to answer", async (...row) => {
  const [, framing, framed, end] = row;
  await using gateway = start({ limits });
  const parts = [1, 2, 3].map((fill) => Buffer.alloc(megabyte, fill));
  const visitor = await gateway.connect();
  visitor.send(`POST /digest HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
  await visitor.has("begun ");
  await visitor.sendAll([...parts.flatMap(framed), ...end]);
  await visitor.has(new Bun.CryptoHasher("sha1").update(Buffer.concat(parts)).digest("hex"));
  visitor.leave();
});

test("a visitor who sends nothing while an answer goes on is there", async () => {
  await using gateway = start({ limits: { ...limits, idleMs: 1_000 } });
  const visitor = await gateway.connect();
  visitor.send("POST /both HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  // Each takes the application a tenth of a second: longer than the limit, and a look or two.
  const dots = (): number => visitor.received.split("\r\n.\r\n").length - 1;
  await until("the answer goes on", () => dots() > 30);
  await visitor.sendAll([Buffer.from("3\r\ndef\r\n0\r\n\r\n")]);
  await visitor.has("abcdef");
  visitor.leave();
});

function inChunk(part: Buffer): Buffer[] {
  return [Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")];
}
