/** Visitors who send or read slowly: who has an instance meanwhile. */
import { describe, expect, test } from "bun:test";
import { until } from "../helpers/condition.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { configOf } from "./support.ts";
import { ProxiedGateway, type RawVisitor } from "./proxied.ts";

const temporaryDirectory = temporaryDirectories();

const program = `
  const big = new Uint8Array(4_000_000).fill(97);
  const paths = {
    "/big": () => new Response(big),
    "/length": async (request) => {
      const bytes = (await request.arrayBuffer()).byteLength;
      return new Response(request.headers.get("content-length") + " " + bytes);
    },
    "/quick": () => new Response("quick"),
    "/events": () => new Response((async function* () {
      yield new TextEncoder().encode("data: 1\\n\\n"); await Bun.sleep(60_000);
    })()),
  };
  export default { fetch: (request) => paths[new URL(request.url).pathname](request) };
`;

/** One process, one request at a time. */
const single = { options: { maxInstances: 1, concurrency: 1 } };

async function withApp(body: (gateway: ProxiedGateway) => Promise<void>): Promise<void> {
  const apps = { main: program };
  const limits = { ...configOf().limits, maxBodyBytes: 0 };
  await using gateway = ProxiedGateway.start(temporaryDirectory(), apps, { limits }, [], single);
  expect(await (await gateway.fetch("/quick")).text()).toBe("quick");
  await body(gateway);
}

async function leave(visitors: readonly RawVisitor[]): Promise<void> {
  for (const visitor of visitors) visitor.leave();
}

describe("no instance is held", () => {
  for (const framing of ["Content-Length: 50000", "Transfer-Encoding: chunked"]) {
    test(`by visitors who have sent a byte of a body (${framing})`, () =>
      withApp(async (gateway) => {
        const visitors = await Promise.all(Array.from({ length: 8 }, () => gateway.connect()));
        for (const visitor of visitors) {
          visitor.send(`POST /length HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n1`);
        }
        for (let i = 0; i < 5; i += 1) {
          expect(await (await gateway.fetch("/quick")).text()).toBe("quick");
        }
        await leave(visitors);
      }));
  }

  test("by visitors who read nothing of an answer", () =>
    withApp(async (gateway) => {
      const visitors = await Promise.all(Array.from({ length: 8 }, () => gateway.connect()));
      for (const visitor of visitors) {
        visitor.pause();
        visitor.get("/big");
      }
      for (let i = 0; i < 5; i += 1) {
        expect(await (await gateway.fetch("/quick")).text()).toBe("quick");
      }
      for (const visitor of visitors) {
        visitor.resume();
        await visitor.has("\r\n\r\n");
        await until("all of it has come", () => visitor.received.endsWith("a".repeat(4_000_000)));
      }
      await leave(visitors);
    }));
});

test("an upload in chunks has a length, whether it lies in memory or in a file", () =>
  withApp(async (gateway) => {
    for (const bytes of [0, 5, 60_000, 3_000_000]) {
      const chunk = bytes === 0 ? "" : `${bytes.toString(16)}\r\n${"x".repeat(bytes)}\r\n`;
      const visitor = await gateway.connect();
      const head = "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
      await visitor.sendAll([Buffer.from(`${head}${chunk}0\r\n\r\n`)]);
      await until("the answer is there", () => visitor.received.includes(`${bytes} ${bytes}`));
      visitor.leave();
    }
  }));

test("what is not whole yet goes on at once, as it comes", () =>
  withApp(async (gateway) => {
    const visitor = await gateway.connect();
    visitor.get("/events");
    await visitor.has("data: 1\n\n");
    visitor.leave();
  }));
