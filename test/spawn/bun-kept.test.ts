/**
 * Kept sessions of bun applications, and the reports of their ends: of one that is called in the
 * process, and of the same behind Bun's own server.
 */
import { describe, expect, test } from "bun:test";

import { until } from "../helpers/condition.ts";
import { readExactly, sendAll } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { BareInstance } from "./bare-instance.ts";
import { doneReports } from "./done-reports.ts";
import { keptSessions } from "./kept-sessions.ts";
import { get, writeApp } from "./support.ts";

const temporaryDirectory = temporaryDirectories();

const program = `
  let gone = 0;
  const paths = {
    "/text": () => new Response("text"),
    "/stream": () => new Response(new ReadableStream({
      async pull(controller) {
        controller.enqueue("a");
        await Bun.sleep(2);
        controller.enqueue("b");
        controller.close();
      } })),
    "/none": () => new Response(null, { status: 204 }),
    "/echo": async (request) => new Response(await request.text()),
    "/ignore": () => new Response("ignored"),
    "/early": (request) => new Response(new ReadableStream({
      async start(controller) {
        controller.enqueue("early ");
        await request.text();
        controller.enqueue("read");
        controller.close();
      } })),
    "/keep": (request) => new Response([...request.headers.keys()].join()),
    "/wait": (request) => new Promise((resolve) => {
      request.signal.addEventListener("abort", () => { gone += 1; resolve(new Response()); });
    }),
    "/gone": () => new Response(String(gone)),
    "/slow": async () => { await Bun.sleep(100); return new Response("slow"); },
    "/never": () => new Promise(() => {}),
    "/begin": () => new Response(new ReadableStream({
      start(controller) { controller.enqueue("a"); } })),
    "/flood": () => new Response(new ReadableStream({
      pull(controller) { controller.enqueue(new Uint8Array(65_536)); } })),
    "/late": (request) => new Promise((resolve) => {
      console.log("late");
      request.signal.addEventListener("abort", () => {
        console.log("gone");
        setTimeout(() => { console.log("settled"); resolve(new Response()); }, 100);
      });
    }),
    "/wrong": () => new Response(
      new ReadableStream({ pull(controller) { controller.enqueue("short"); controller.close(); } }),
      { headers: { "content-length": "10" } }),
  };
  const fetch = (request) => paths[new URL(request.url).pathname](request);
`;

const called = `${program} export default { fetch };`;
// Bun's own server leaves a client waiting for what a stream of too few bytes has announced.
const served = `${program}
  paths["/wrong"] = () => new Response(
    new ReadableStream({
      start(controller) { controller.enqueue("short"); },
      async pull(controller) { await Bun.sleep(5); controller.error(new Error("broken off")); } }),
    { headers: { "content-length": "10" } });
  Bun.serve({ fetch, routes: { "/text": paths["/text"], "/none": paths["/none"] } });`;

describe.each([
  ["called", called],
  ["served", served],
])("%s", (_, text) => {
  keptSessions("bun", "server.ts", text);
  doneReports("bun", "server.ts", text);
});

test("a stream that says nothing is cancelled when its client leaves, and then over", async () => {
  const directory = temporaryDirectory();
  const text = `export default { fetch: () => new Response(new ReadableStream({
    start(controller) { controller.enqueue("a"); console.log("begun"); },
    cancel() { console.log("cancelled"); } })) };`;
  const root = writeApp(directory, "app", { "server.ts": text });
  const instance = await new BareInstance(directory).begin(root, "bun", { concurrency: 1 });
  const session = instance.connect();
  await sendAll(session.number, get());
  await until("it has begun", () => instance.lines.some((line) => line.includes("begun")));
  expect(instance.done()).toBe(0);
  session.close();
  await until("it is over", () => instance.done() === 1);
  await until("it was told", () => instance.lines.at(-1)?.includes("cancelled"));
  await instance.end();
});

test("a header's value is that of its own request, whatever others have said", async () => {
  const directory = temporaryDirectory();
  const text = `export default { fetch: ({ headers }) =>
    new Response("<" + headers.get("x-a") + "|" + headers.get("cookie") + ">") };`;
  const root = writeApp(directory, "app", { "server.ts": text });
  const instance = await new BareInstance(directory).begin(root, "bun");
  using session = instance.connect();
  const values = ["a", "ab", "a", "", "abc", "ab", "a".repeat(300)];
  for (let turn = 0; turn < 150; turn += 1) {
    // Long the same, then another each time.
    const value = values[turn < 60 ? 1 : turn % values.length] ?? "";
    const variables = `SESSION_KEEP\x001\0HTTP_X_A\0${value}\0HTTP_COOKIE\0a=${value}\0`;
    const isTwice = turn % 5 === 0;
    const block = `REQUEST_METHOD\0GET\0REQUEST_URI\0/\0${variables}`;
    const bytes = Buffer.from(`\0\0\0\0${block}${isTwice ? "HTTP_COOKIE\0b=2\0" : ""}`, "latin1");
    bytes.writeUInt32BE(bytes.length - 4);
    await sendAll(session.number, bytes);
    let answer = "";
    while (!answer.endsWith(">")) answer += await readExactly(session.number, 1);
    expect(answer).toEndWith(`<${value}|a=${value}${isTwice ? "; b=2" : ""}>`);
  }
  await instance.end();
});
