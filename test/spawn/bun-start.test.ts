/** Bun programs of every form, and what needs a program of its own to be shown. */
import { expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, exchange, get, parseAnswer, post, spawnRequest, writeApp } from "./support.ts";

const { directory, spawner } = spawnerScene();

function started(name: string, source: string): Promise<Instance> {
  const root = writeApp(directory, name, { "server.ts": source });
  return spawner.spawn(spawnRequest(root, { appType: "bun" }));
}

async function ask(bytes: Uint8Array, of: Instance) {
  return parseAnswer(await exchange(of, bytes));
}

test("tells fetch the address of its client", async () => {
  const source = `export default {
    fetch: (request, server) => Response.json(server.requestIP(request)),
  };`;
  const other = await started("address", source);
  const { body } = await ask(get({ REMOTE_ADDR: "203.0.113.9", REMOTE_PORT: "4711" }), other);
  expect(JSON.parse(body)).toEqual({ address: "203.0.113.9", port: 4711, family: "IPv4" });
  other.release();
});

test("sends the head of a stream that begins later at once", async () => {
  const source = `let begin;
    export default { fetch: (request) => {
      if (new URL(request.url).pathname === "/begin") { begin(); return new Response("begun"); }
      return new Response(new ReadableStream({ async pull(controller) {
        await new Promise((resolve) => { begin = resolve; });
        controller.enqueue("late");
        controller.close();
      } }), { headers: { "x-early": "yes" } });
    } };`;
  const other = await started("late-stream", source);
  using session = connected(other);
  await sendAll(session.number, get());
  expect(await readExactly(session.number, 10)).toBe("Status: 20");
  await ask(get({ REQUEST_URI: "/begin" }), other);
  expect(await readToEnd(session.number)).toEndWith("x-early: yes\r\n\r\nlate");
  other.release();
});

test("lets no line end into the head of an answer", async () => {
  const source = `export default { fetch: () => {
    const tries = ["a\\r\\nx-evil: 1", "a\\nb", "a\\0b"].map((bad) => {
      try { new Response("", { headers: { "x-a": bad } }); return "taken"; } catch { return "no"; }
    });
    return new Response(tries.join(), { statusText: "OK" });
  } };`;
  const other = await started("inject", source);
  const { headers, body } = await ask(get(), other);
  expect(headers.join()).not.toContain("evil");
  expect(body).toBe("no,no,no");
  other.release();
});

test("serves a program of node:http", async () => {
  const root = writeApp(directory, "node-http", {
    "server.ts": `import { createServer } from "node:http";
      createServer((request, response) => {
        response.setHeader("x-method", request.method ?? "");
        request.pipe(response);
      }).listen(3000);`,
  });
  const node = await spawner.spawn(spawnRequest(root, { appType: "bun" }));
  const { headers, body } = await ask(post("through node"), node);
  expect(headers).toContain("x-method: POST");
  expect(body).toBe("through node");
  node.release();
});

test.each([
  ["a CommonJS program", "server.js", "module.exports = { fetch: () => new Response('ok') };"],
  [
    "serve imported from bun",
    "server.ts",
    'import { serve } from "bun"; serve({ fetch: () => new Response("ok") });',
  ],
  [
    "a late Bun.serve",
    "server.ts",
    "setTimeout(() => Bun.serve({ fetch: () => new Response('ok') }), 20);",
  ],
  [
    "a class as the default export",
    "server.ts",
    "export default new (class { fetch() { return new Response('ok'); } })();",
  ],
])("serves %s", async (name, file, source) => {
  const root = writeApp(directory, name.replaceAll(" ", "-"), { [file]: source });
  const other = await spawner.spawn(spawnRequest(root, { appType: "bun" }));
  expect((await ask(get(), other)).body).toBe("ok");
  other.release();
});
