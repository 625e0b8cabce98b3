/** The library, the real server and real applications together. */
import { afterAll, expect, test } from "bun:test";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import {
  Application,
  fetchFrom,
  type PoolConnection,
  type PoolServer,
  request,
  SessionError,
  SpawnError,
  startPoolServer,
} from "../../src/parent/index.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { rejection } from "./rejection.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

// Copies: as root the tests run them as another user, who may not enter where the checkout lies.
const examples = mkdtempSync(join(tmpdir(), "pool-"));
cpSync(resolve(import.meta.dir, "../../examples"), examples, { recursive: true });
chmodSync(examples, 0o755);
afterAll(() => rmSync(examples, { recursive: true }));
const hello = join(examples, "hello");
const counter = join(examples, "counter");

/** A directory with this program as its server.ts. */
function applicationOf(program: string): string {
  const root = join(temporaryDirectory(), "app");
  mkdirSync(root);
  writeFileSync(join(root, "server.ts"), program);
  // It runs as another user when the tests run as root.
  chmodSync(root, 0o755);
  return root;
}

/** A server and one connection to it; its log goes to a file, its failures to the test. */
async function start(): Promise<{ server: PoolServer; pool: PoolConnection }> {
  const server = startPoolServer({ logFile: join(temporaryDirectory(), "log") });
  return { server, pool: await server.connect() };
}

const get: [string, string][] = [
  ["REQUEST_METHOD", "GET"],
  ["REQUEST_URI", "/"],
  ["PATH_INFO", "/"],
];

test("an instance is busy from get until the answer has been read, then idle", async () => {
  const { server, pool } = await start();
  const session = await pool.get(hello);
  expect(await pool.getActive()).toBe(1);
  const answer = await request(session, { headers: get });
  expect(answer.status).toBe(200);
  expect(await answer.text()).toContain(`process ${session.pid} `);
  expect([await pool.getCount(), await pool.getActive()]).toEqual([1, 0]);
  await server.close();
});

test("bodies travel both ways whole", async () => {
  const root = applicationOf("export default { fetch: (request) => new Response(request.body) };");
  const { server, pool } = await start();
  const sent = Buffer.alloc(3_000_000);
  for (let i = 0; i < sent.length; i += 1) sent[i] = (i * 7) % 253;
  const post = new Request("http://localhost/", { method: "POST", body: sent });
  const response = await fetchFrom(pool, root, post);
  expect(Buffer.from(await response.arrayBuffer()).equals(sent)).toBe(true);
  await server.close();
});

test("an application that cannot start is a SpawnError with its page", async () => {
  const root = applicationOf('throw new Error("no luck today");');
  const { server, pool } = await start();
  const error = await rejection(pool.get(root));
  expect(error).toBeInstanceOf(SpawnError);
  expect(String(error)).toContain(`Cannot spawn application '${root}': `);
  const page = error instanceof SpawnError ? Buffer.from(error.page ?? []).toString() : "";
  expect(page).toContain("no luck today");
  await server.close();
});

test("an application that dies inside its answer is an error, not an end", async () => {
  const root = applicationOf(`
    async function* body() {
      yield Buffer.from("some of it");
      await Bun.sleep(50); // what was said is on its way
      process.kill(process.pid, "SIGKILL");
    }
    export default {
      fetch: () => new Response(body(), { headers: { "Content-Length": "1000" } }),
    };
  `);
  const { server, pool } = await start();
  const session = await pool.get(root);
  const answer = await request(session, { headers: get });
  const error = await rejection(answer.bytes());
  expect(error).toBeInstanceOf(SessionError);
  expect(String(error)).toContain("ended 990 bytes short of its Content-Length");
  await until("the pool to notice", async () => (await pool.getCount()) === 0);
  await server.close();
});

test("an aborted get leaves the line; who comes after it is served", async () => {
  const { server, pool } = await start();
  await pool.configure(hello, { concurrency: 1 });
  pool.setMax(1);
  pool.setUseGlobalQueue(true);
  const first = await pool.get(hello);
  const controller = new AbortController();
  const second = rejection(pool.get(hello, { signal: controller.signal }));
  const third = pool.get(hello);
  await until("both to wait", async () => (await pool.inspect()).waiting === 2);
  controller.abort("never mind");
  expect(await second).toBe("never mind");
  await until("one to wait", async () => (await pool.inspect()).waiting === 1);
  first.close();
  (await third).close();
  await server.close();
});

test("a wrong option of configure is a ConfigureError, and the connection goes on", async () => {
  const { server, pool } = await start();
  const wrong = { concurrency: 0 };
  expect(await rejection(pool.configure(hello, wrong))).toHaveProperty("name", "ConfigureError");
  expect(await pool.getCount()).toBe(0);
  await server.close();
});

test("thousands of requests to two applications over one connection are all answered", async () => {
  const { server, pool } = await start();
  const apps = [new Application(hello), new Application(counter)];
  const answers = Array.from({ length: 2000 }, async (_, i) => {
    const response = await fetchFrom(pool, apps[i % 2] ?? "", new Request(`http://a/${i}`));
    return [response.status, await response.text()] as const;
  });
  const all = await Promise.all(answers);
  expect(all.filter(([status]) => status !== 200)).toEqual([]);
  expect(all.every(([, text], i) => (i % 2 === 0 ? text.includes(`/${i};`) : true))).toBe(true);
  await until("all sessions to be given back", async () => (await pool.getActive()) === 0);
  const { counters } = await pool.inspect();
  expect(counters.sessionsClosed).toBe(counters.grants);
  await server.close();
});

test("a session is kept from one request to the next", async () => {
  const { server, pool } = await start();
  for (let i = 0; i < 20; i += 1) {
    await (await fetchFrom(pool, hello, new Request(`http://a/${i}`))).text();
  }
  const { counters } = await pool.inspect();
  // One is kept for no more than 100 ms, and a busy machine may take that long now and then.
  expect(counters.grants).toBeLessThan(20);
  await server.close();
});

test("20,000 sessions leave no descriptor behind, here or in the server", async () => {
  const { server, pool } = await start();
  const app = new Application(hello);
  (await pool.get(app)).close();
  expect(await pool.getActive()).toBe(0);
  const before = [openDescriptors().size, openDescriptors(server.pid).size];
  const worker = async (): Promise<void> => {
    for (let i = 0; i < 334; i += 1) {
      (await pool.get(app)).close();
      if (i % 250 === 0) Bun.gc(true);
    }
  };
  await Promise.all(Array.from({ length: 60 }, worker));
  await until("the last session to be closed", async () => (await pool.getActive()) === 0);
  const after = () => [openDescriptors().size, openDescriptors(server.pid).size];
  // Sixty gets at once may have started a second instance, which costs the server descriptors.
  pool.clear();
  (await pool.get(app)).close();
  await until("the descriptors of one instance", () => String(after()) === String(before), after);
  await server.close();
}, 60_000);
