/**
 * Visitors who send requests without waiting for answers: browsers' old habit, package managers and
 * measuring tools still do. All are answered, in their order, and none is carried out in vain.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { exchange } from "./raw-exchange.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/**
 * Answers path and body, after so many ms; 64 KiB of x for /large; for /drip four parts with
 * pauses, for /begin one without an end, of which it says `told` when its visitor has gone, and for
 * /open one of a length that nobody knows.
 */
const program = `
const parts = (count, headers) => new Response(new ReadableStream({
  async start(controller) {
    for (let n = 0; n < count; n += 1) {
      controller.enqueue("<part" + n + ">");
      await Bun.sleep(600);
    }
    if (count > 1) controller.close();
  },
  cancel() { console.log("told"); },
}), { headers });
export default { async fetch(request: Request) {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/large") return new Response("x".repeat(65536));
  if (pathname === "/begin") return parts(1, {});
  if (pathname === "/open") {
    const start = (controller) => { controller.enqueue("<open>"); controller.close(); };
    return new Response(new ReadableStream({ start }));
  }
  if (pathname === "/drip") {
    return parts(4, searchParams.has("length") ? { "content-length": "28" } : {});
  }
  const body = await request.text();
  await Bun.sleep(Number(searchParams.get("ms") ?? 0));
  return new Response(\`<\${pathname}\${body}>\`);
} };
`;

async function serve(): Promise<{ gateway: Gateway; port: number; root: string }> {
  const root = join(temporaryDirectory(), "app");
  mkdirSync(join(root, "public"), { recursive: true });
  writeFileSync(join(root, "server.ts"), program);
  const gateway = startGateway([root, "--listen", "127.0.0.1:0", "--access-log", "off"]);
  return { gateway, port: Number(new URL(await gateway.address()).port), root };
}

const get = (target: string, more = ""): string =>
  `GET ${target} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
const post = (more: string): string => `POST /p HTTP/1.1\r\nHost: a\r\n${more}`;
const last = "Connection: close\r\n";

/** What the answers say, in their order. */
function bodies(answered: string): string[] {
  return Array.from(answered.matchAll(/<([^>]*)>/g), ([, text = ""]) => text);
}

test("a hundred requests at once are answered in their order", async () => {
  const { gateway, port } = await serve();
  const paths = Array.from({ length: 100 }, (_, n) => `/${n}`);
  const sent = paths.map((path, n) => get(path, n === 99 ? last : "")).join("");
  const { answered, closed } = await exchange(port, [sent]);
  expect(bodies(answered)).toEqual(paths);
  expect(closed).toBe(true);
  await gateway.end();
});

test("a slow answer is not overtaken by those behind it", async () => {
  const { gateway, port } = await serve();
  const sent = get("/slow?ms=200") + get("/quick") + get("/slower?ms=100") + get("/last", last);
  const { answered } = await exchange(port, [sent]);
  expect(bodies(answered)).toEqual(["/slow", "/quick", "/slower", "/last"]);
  await gateway.end();
});

test("bodies between them end where they say", async () => {
  const { gateway, port } = await serve();
  const sent =
    post(`Content-Length: 5\r\n\r\nhello`) +
    post("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") +
    post("Content-Length: 0\r\n\r\n") +
    get("/g") +
    post(`${last}Content-Length: 70000\r\n\r\n${"y".repeat(70_000)}`);
  const { answered } = await exchange(port, [sent]);
  const large = `/p${"y".repeat(70_000)}`;
  expect(bodies(answered)).toEqual(["/phello", "/pabc", "/p", "/g", large]);
  await gateway.end();
});

test("who ends his side after them is answered all the same", async () => {
  const { gateway, port } = await serve();
  const steps = [get("/1") + get("/2?ms=100") + get("/3"), { close: "writing" } as const];
  const { answered, closed } = await exchange(port, steps);
  expect({ bodies: bodies(answered), closed }).toEqual({
    bodies: ["/1", "/2", "/3"],
    closed: true,
  });
  await gateway.end();
});

test("who ends his side gets an answer that comes in parts, whatever frames it", async () => {
  const { gateway, port } = await serve();
  const asked = [get("/drip"), get("/drip?length"), get("/drip").replace("1.1", "1.0")];
  const answers = await Promise.all(
    asked.map((text) => exchange(port, [text, { close: "writing" }])),
  );
  for (const { answered } of answers) {
    expect(bodies(answered)).toEqual(["part0", "part1", "part2", "part3"]);
  }
  const [chunked] = answers;
  expect(chunked?.answered).toEndWith("0\r\n\r\n");
  await gateway.end();
});

test("who leaves within an answer that says nothing for now is noticed", async () => {
  const { gateway, port } = await serve();
  const socket = connect({ port, host: "127.0.0.1" });
  socket.write(get("/begin"));
  await new Promise((resolve) => socket.once("data", resolve));
  socket.destroy();
  await until(
    "the application is told",
    () => gateway.log.includes("told"),
    () => gateway.log,
  );
  await gateway.end();
});

test("after a request that is refused, or says that it is the last, nothing is carried out", async () => {
  const { gateway, port } = await serve();
  const refused = await exchange(port, [`${get("/1")}BAD\r\n\r\n${get("/2")}`]);
  expect(bodies(refused.answered)).toEqual(["/1"]);
  expect(refused.answered).toContain("HTTP/1.1 400 ");
  const closed = await exchange(port, [get("/1", last) + get("/2")]);
  expect(bodies(closed.answered)).toEqual(["/1"]);
  await gateway.end();
});

test("files are answered among them as a package manager asks for them", async () => {
  const { gateway, port, root } = await serve();
  writeFileSync(join(root, "public/small.txt"), "<small>");
  writeFileSync(join(root, "public/large.txt"), `<${"z".repeat(300_000)}>`);
  const sent =
    get("/small.txt") +
    get("/large.txt") +
    get("/none.txt") +
    get("/small.txt", "Range: bytes=1-3\r\n") +
    get("/small.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n") +
    get("/small.txt", last);
  const { answered } = await exchange(port, [sent]);
  expect(bodies(answered)).toEqual(["small", "z".repeat(300_000), "/none.txt", "small"]);
  expect(Array.from(answered.matchAll(/HTTP\/1\.1 (\d+)/g), ([, status]) => status)).toEqual([
    "200",
    "200",
    "200",
    "206",
    "304",
    "200",
  ]);
  await gateway.end();
});

test("who asks and does not read is not read either, until he reads", async () => {
  const { gateway, port } = await serve();
  const socket = connect({ port, host: "127.0.0.1" });
  const count = 2000;
  let received = 0;
  socket.on("data", (data) => (received += data.length));
  socket.pause();
  socket.write(get("/large").repeat(count - 1) + get("/large", last));
  const [worker] = gateway.workers;
  if (worker === undefined) throw new Error("no worker");
  // It holds what a visitor has coming in sockets and some buffers, not 128 MiB of answers.
  let sent = 0;
  await until("no more is sent", async () => {
    const before = sent;
    await Bun.sleep(300);
    sent = unreadBytes(port);
    return sent > 0 && sent === before;
  });
  const memory = await Bun.file(`/proc/${worker.pid}/smaps_rollup`).text();
  expect(Number(/^Pss_Anon:\s+(\d+)/m.exec(memory)?.[1])).toBeLessThan(120_000);
  socket.resume();
  await new Promise((resolve) => socket.once("close", resolve));
  expect(received).toBeGreaterThan(count * 65_536);
  await gateway.end();
});

/** What waits in sockets of this port to be taken (proc(5), net/tcp). */
function unreadBytes(port: number): number {
  const table = Bun.spawnSync(["cat", "/proc/net/tcp"]).stdout.toString();
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const queues = table.matchAll(/: \w+:(\w+) \w+:(\w+) 01 (\w+):(\w+)/g);
  let bytes = 0;
  for (const [, local, remote, out = "", into = ""] of queues) {
    if (local !== hex && remote !== hex) continue;
    bytes += Number.parseInt(out, 16) + Number.parseInt(into, 16);
  }
  return bytes;
}

test("requests that come after the last answer do not make it a reset", async () => {
  const { gateway, port } = await serve();
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  let answered = "";
  let hasEnded = false;
  let failure: unknown;
  socket.on("data", (chunk) => (answered += chunk.toString()));
  socket.on("end", () => (hasEnded = true));
  socket.on("error", (error) => (failure = error));
  // Its end is that of the connection, which this visitor would rather keep.
  socket.write("GET /open HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  await until("the answer has ended", () => hasEnded);
  for (let late = 0; late < 3; late += 1) {
    socket.write(get("/late"));
    await exchange(port, [get("/other", last)]);
  }
  expect(failure).toBeUndefined();
  expect(bodies(answered)).toEqual(["open"]);
  socket.destroy();
  await gateway.end();
});
