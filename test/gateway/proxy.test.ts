/** A request's way to a real instance, and its answer's way back. */
import { describe, expect, test } from "bun:test";
import { until } from "../helpers/condition.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { ProxiedGateway } from "./proxied.ts";

const temporaryDirectory = temporaryDirectories();

/** The path says what it does. */
const program = `
  let aborted = 0;
  const lengthIn = (request) => {
    const length = new URL(request.url).searchParams.get("length");
    return length === null ? {} : { "Content-Length": length };
  };
  const text = (text) => new TextEncoder().encode(text);
  const paths = {
    "/see": async (request) => Response.json({
      method: request.method, url: request.url, headers: Object.fromEntries(request.headers),
      body: await request.text() }),
    "/echo": (request) => new Response(request.body, { headers: { "X-Echo": "yes" } }),
    "/pid": () => new Response(String(process.pid)),
    "/cookies": () => new Response("c", { headers: [["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"],
      ["Connection", "X-Mine"], ["X-Mine", "1"], ["Keep-Alive", "5"], ["X-Yours", "caf\\xe9"]] }),
    "/none": () => new Response(null, { status: 204 }),
    "/unchanged": () => new Response(null, { status: 304, headers: { ETag: '"x"' } }),
    "/long": () => new Response("x".repeat(3_000_000)),
    "/stream": () => new Response((async function* () { yield text("a"); yield text("b"); })()),
    "/endless": (request) => {
      request.signal.addEventListener("abort", () => { aborted += 1; });
      return new Response((async function* () {
        for (;;) { yield text("more "); await Bun.sleep(5); }
      })());
    },
    "/wait": async (request) => {
      request.signal.addEventListener("abort", () => { aborted += 1; });
      await Bun.sleep(60_000);
    },
    "/aborted": () => new Response(String(aborted)),
    "/stall": () => new Response((async function* () {
      yield text("begin "); await Bun.sleep(60_000);
    })(), { headers: { "Content-Length": "100" } }),
    "/reset": () => new Response("body", { status: 205 }),
    "/die": () => process.exit(1),
    "/die-inside": (request) => new Response((async function* () {
      yield text("begin "); await Bun.sleep(20); process.exit(1);
    })(), { headers: lengthIn(request) }),
  };
  export default { fetch: (request) => paths[new URL(request.url).pathname](request) };
`;

async function withApp(body: (gateway: ProxiedGateway) => Promise<void>): Promise<void> {
  await using gateway = ProxiedGateway.start(temporaryDirectory(), { main: program });
  await body(gateway);
}

describe("a request", () => {
  test("reaches the application with method, target, headers and body", () =>
    withApp(async (gateway) => {
      const headers = { "Content-Type": "text/x", "X-A": "1", Proxy: "p", X_Y: "2", Cookie: "c=d" };
      const init = { method: "PATCH", body: "some body", headers };
      const answer = await gateway.fetch("/see?a=%20b", init);
      const seen = (await answer.json()) as { headers: Record<string, string> };
      expect(seen).toMatchObject({
        method: "PATCH",
        url: gateway.url("/see?a=%20b"),
        body: "some body",
        headers: { "content-type": "text/x", "x-a": "1", cookie: "c=d", "content-length": "9" },
      });
      expect(Object.keys(seen.headers)).not.toContain("proxy");
      expect(Object.keys(seen.headers).filter((name) => /y/.test(name))).toEqual(["content-type"]);
    }));

  test("is refused when its path decodes to a NUL", () =>
    withApp(async (gateway) => {
      expect((await gateway.fetch("/see%00")).status).toBe(400);
    }));
});

describe("an answer", () => {
  test("keeps repeated headers, and loses those of the connection", () =>
    withApp(async (gateway) => {
      const { headers } = await gateway.fetch("/cookies");
      expect(headers.getSetCookie()).toEqual(["a=1", "b=2"]);
      expect(headers.get("x-yours")).toBe("caf\xe9");
      expect(headers.get("keep-alive")).toBeNull();
    }));

  test("without a body is one: 204, 304, HEAD", () =>
    withApp(async (gateway) => {
      const visitor = await gateway.connect();
      visitor.get("/none");
      await visitor.has("204 No Content");
      visitor.get("/unchanged");
      await visitor.has("304 Not Modified");
      visitor.send("HEAD /pid HTTP/1.1\r\nHost: a\r\n\r\n");
      await visitor.has("HTTP/1.1 200 OK");
      visitor.get("/pid", "Connection: close\r\n");
      await visitor.end();
      const heads = visitor.received.split("HTTP/1.1 ").slice(1);
      expect(heads.map((head) => head.slice(0, 3))).toEqual(["204", "304", "200", "200"]);
      expect(heads.slice(0, 3).map((head) => head.split("\r\n\r\n")[1])).toEqual(["", "", ""]);
      const length = /content-length: (\d+)/i.exec(heads[2] ?? "")?.[1];
      expect(length).toBe(/content-length: (\d+)/i.exec(heads[3] ?? "")?.[1]);
    }));

  test("comes whole, long or streamed, and the visit knows its size, instance and status", () =>
    withApp(async (gateway) => {
      expect((await (await gateway.fetch("/long")).text()).length).toBe(3_000_000);
      expect(await (await gateway.fetch("/stream")).text()).toBe("ab");
      const pid = Number(await (await gateway.fetch("/pid")).text());
      await until("all visits are over", () => gateway.done.length === 3);
      expect(gateway.done.map(({ bytes }) => bytes).slice(0, 2)).toEqual([3_000_000, 2]);
      expect(gateway.done.map((visit) => [visit.pid, visit.status])).toEqual(
        Array.from({ length: 3 }, () => [pid, 200]),
      );
    }));

  test("that stops in its middle is passed on so far", () =>
    withApp(async (gateway) => {
      const visitor = await gateway.connect();
      visitor.get("/stall");
      await visitor.has("begin ");
      visitor.leave();
      await until("the visit is over", () => gateway.done.length === 1);
    }));

  test("of 205 has no body, whatever the application says", () =>
    withApp(async (gateway) => {
      expect(await (await gateway.fetch("/reset")).text()).toBe("");
      const pool = await gateway.link.connection();
      await until("its session is over", async () => (await pool.getActive()) === 0);
    }));

  for (const [version, query] of [
    ["1.1", ""],
    ["1.0", ""],
    ["1.1", "?length=100"],
    ["1.1", "?length=2000000"],
  ]) {
    const which = `HTTP/${version} ${query}`;
    test(`that is cut short breaks the visitor's connection: it never looks whole (${which})`, () =>
      withApp(async (gateway) => {
        const visitor = await gateway.connect();
        visitor.send(`GET /die-inside${query} HTTP/${version}\r\nHost: a\r\n\r\n`);
        await visitor.end();
        expect(visitor.received).toContain("begin ");
        expect(visitor.received.split("\r\n\r\n", 2)[1]).toMatch(/^(6\r\n)?begin (\r\n)?$/);
        expect(visitor.ended).toBe("reset");
        expect(gateway.done[0]?.failure).toContain("the answer ended");
      }));
  }
});

describe("a visitor who leaves", () => {
  for (const path of ["/wait", "/endless"]) {
    test(`ends the session at once (${path})`, () =>
      withApp(async (gateway) => {
        const visitor = await gateway.connect();
        visitor.get(path);
        const pool = await gateway.link.connection();
        await until("an instance is busy", async () => (await pool.getActive()) === 1);
        if (path === "/endless") await visitor.has("more ");
        visitor.leave();
        await until("the application is told", async () => {
          return (await (await gateway.fetch("/aborted")).text()) === "1";
        });
      }));
  }
});

describe("an instance that dies before it answers", () => {
  test("costs a GET two tries and then 502; the next request is served", () =>
    withApp(async (gateway) => {
      expect((await gateway.fetch("/die")).status).toBe(502);
      expect((await gateway.fetch("/die", { method: "POST" })).status).toBe(502);
      expect((await gateway.fetch("/pid")).status).toBe(200);
    }));

  test("that is killed while it works: a GET is answered by another", () =>
    withApp(async (gateway) => {
      const pid = Number(await (await gateway.fetch("/pid")).text());
      process.kill(pid, "SIGKILL");
      const answers = await Promise.all(
        Array.from({ length: 20 }, async () => Number(await (await gateway.fetch("/pid")).text())),
      );
      expect(answers).not.toContain(pid);
    }));
});
