/**
 * Visitors of a sticky application go on with the process they had, by a cookie or their address,
 * whichever worker they come to, and with another when it has gone.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { copyPackages } from "../../scripts/real-apps/install.ts";
import { until } from "../helpers/condition.ts";
import { type Gateway, gateways, poolOf, statusOf } from "../helpers/gateway.ts";
import { isRunning } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** All answer with their process's id, where they can also over a WebSocket. */
const programs = {
  "app.js": `
    const { createServer } = require("node:http");
    const server = createServer((request, response) => response.end(String(process.pid)));
    new (require("ws").WebSocketServer)({ server }).on("connection", (socket) => {
      socket.send(String(process.pid));
    });
    server.listen(3000);`,
  "server.ts": `
    export default {
      fetch: (request, server) =>
        server.upgrade(request) ? undefined : new Response(String(process.pid)),
      websocket: { open: (socket) => void socket.send(String(process.pid)), message: () => {} },
    };`,
  "server.js": `
    const server = require("node:http").createServer();
    new (require("socket.io").Server)(server).on("connection", (socket) => {
      socket.on("who", (answer) => answer(process.pid));
    });
    server.on("request", (request, response) => {
      if (request.url === "/") response.end(String(process.pid));
    });
    server.listen(3000);`,
  "config.ru": `run lambda { |env| [200, {}, [Process.pid.to_s]] }`,
};

interface Site {
  readonly gateway: Gateway;
  readonly address: string;
  readonly root: string;
}

async function start(
  file: keyof typeof programs,
  settings: string,
  { top = "", path = "/" } = {},
): Promise<Site> {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  mkdirSync(root);
  writeFileSync(join(root, file), programs[file]);
  // A copy: it runs as a user who may not see this directory.
  copyPackages([file === "server.js" ? "socket.io" : "ws"], root);
  const config = join(directory, "pool.toml");
  const apps = `[[apps]]\nroot = "app"\ninstances = 4\n${settings}\n`;
  writeFileSync(
    config,
    `listen = ["127.0.0.1:0"]\n${top}\n[log]\naccess = "off"\nlevel = 1\n${apps}`,
  );
  const gateway = startGateway(["--config", config]);
  const address = await gateway.address();
  await (await fetch(`${address}${path}`)).text();
  await until("there are four", async () => (await statusOf(gateway)).pool?.count === 4);
  return { gateway, address, root };
}

function restart({ root }: Site): void {
  mkdirSync(join(root, "tmp"));
  writeFileSync(join(root, "tmp/restart.txt"), "");
}

interface Visit {
  readonly pid: number;
  /** What the answer sets, with its attributes; null: nothing. */
  readonly set: string | null;
  /** What the next request is to have. */
  readonly cookie: string;
}

/** A request on a connection of its own, so that any worker may have it. */
async function visit({ address }: Site, cookie = "", path = "/"): Promise<Visit> {
  const headers = { connection: "close", ...(cookie === "" ? {} : { cookie }) };
  const response = await fetch(`${address}${path}`, { headers });
  const set = response.headers.get("set-cookie");
  const pid = Number(await response.text());
  return { pid, set, cookie: set === null ? cookie : (set.split(";")[0] ?? "") };
}

async function webSocket({ address }: Site, cookie: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const socket = new WebSocket(address.replace("http", "ws"), { headers: { cookie } });
  socket.addEventListener("message", ({ data }) => resolve(Number(data)));
  socket.addEventListener("error", () => reject(new Error("the WebSocket failed")));
  const pid = await promise;
  socket.close();
  return pid;
}

for (const file of ["app.js", "server.ts", "config.ru"] as const) {
  test(`${file}: each visitor has one process, by his cookie, in any worker`, async () => {
    const site = await start(file, "sticky = true", { top: "workers = 2" });
    const visitors = await Promise.all(Array.from({ length: 8 }, () => visit(site)));
    expect(new Set(visitors.map(({ pid }) => pid)).size).toBe(4);
    for (const { pid, cookie } of visitors) {
      const again = Array.from({ length: 10 }, () => visit(site, `a=b; ${cookie}; c=d`));
      for (const next of await Promise.all(again)) {
        expect([next.pid, next.set]).toEqual([pid, null]);
      }
      if (file !== "config.ru") expect(await webSocket(site, cookie)).toBe(pid);
    }
    await site.gateway.end();
  });
}

test("the cookie is HttpOnly, for this application alone, and tells nothing", async () => {
  const site = await start("app.js", 'sticky = true\nprefix = "/café"', {
    path: "/caf%C3%A9/",
  });
  const { set, pid } = await visit(site, "", "/caf%C3%A9/");
  expect(set).toMatch(/^pool_[0-9a-f]{8}=[\w-]{22}; Path=\/caf%C3%A9; HttpOnly; SameSite=Lax$/);
  expect(set).not.toContain(String(pid));
  await site.gateway.end();
});

test("whose process has gone goes on with another, and so do all of his requests", async () => {
  const site = await start("app.js", "sticky = true");
  const { pid, cookie } = await visit(site);
  process.kill(pid, "SIGKILL");
  await until("it has gone", async () => !isRunning(pid));
  const next = await Promise.all([1, 2, 3, 4, 5, 6].map(() => visit(site, cookie)));
  expect(new Set(next.map((each) => each.pid)).size).toBe(1);
  expect(next[0]?.pid).not.toBe(pid);
  expect(new Set(next.map((each) => each.cookie)).size).toBe(1);
  await until("there are four", async () => (await statusOf(site.gateway)).pool?.count === 4);
  const last = await visit(site, next[0]?.cookie);
  expect([last.pid, last.set]).toEqual([next[0]?.pid ?? 0, null]);
  await site.gateway.end();
});

test("after a restart at once every visitor has a process of the new version", async () => {
  const site = await start("app.js", 'sticky = true\nrestart_mode = "at-once"');
  const before = await visit(site);
  restart(site);
  const after = await visit(site, before.cookie);
  expect(after.pid).not.toBe(before.pid);
  expect(after.cookie).not.toBe(before.cookie);
  const again = await visit(site, after.cookie);
  expect([again.pid, again.set]).toEqual([after.pid, null]);
  await site.gateway.end();
});

test("through a rolling restart every visitor is answered, and in the end by the new version", async () => {
  const site = await start("app.js", "sticky = true");
  const { applications } = await poolOf(site.gateway);
  const old = applications[0]?.instances.map(({ pid }) => pid) ?? [];
  let visitor = await visit(site);
  restart(site);
  await until("none of the old ones is left", async () => {
    visitor = await visit(site, visitor.cookie);
    expect(visitor.pid).toBeGreaterThan(0);
    return !old.some((pid) => isRunning(pid));
  });
  const first = await visit(site, visitor.cookie);
  expect(old).not.toContain(first.pid);
  const again = await visit(site, first.cookie);
  expect([again.pid, again.set]).toEqual([first.pid, null]);
  await site.gateway.end();
});

test("what nobody was given leads to any process, and is replaced", async () => {
  const site = await start("app.js", "sticky = true");
  const { cookie } = await visit(site);
  const [name] = cookie.split("=");
  const invented = ["x", "A".repeat(22), "A".repeat(4000), "../..", ""];
  for (const value of invented) {
    const next = await visit(site, `${name}=${value}`);
    expect(next.pid).toBeGreaterThan(0);
    expect(next.set).toStartWith(`${name}=`);
  }
  await site.gateway.end();
});

test("by their addresses visitors need no cookie", async () => {
  const top = 'workers = 2\ntrusted_proxies = ["127.0.0.1"]';
  const site = await start("app.js", 'sticky = "address"', { top });
  const from = async (host: number): Promise<number> => {
    const headers = { connection: "close", "x-forwarded-for": `10.0.0.${host}` };
    const response = await fetch(site.address, { headers });
    expect(response.headers.get("set-cookie")).toBe(null);
    return Number(await response.text());
  };
  const hosts = Array.from({ length: 12 }, (_, host) => host);
  const first = await Promise.all(hosts.map(from));
  expect(new Set(first).size).toBe(4);
  for (let round = 0; round < 5; round++) expect(await Promise.all(hosts.map(from))).toEqual(first);
  await site.gateway.end();
});

/** A client of socket.io that polls, as its protocol has it (engine.io-protocol, version 4). */
class Polling {
  readonly #site: Site;
  #cookie = "";
  #sid = "";

  constructor(site: Site) {
    this.#site = site;
  }

  async open(): Promise<void> {
    const opened = await this.#send();
    this.#sid = (JSON.parse(opened.slice(1)) as { sid: string }).sid;
    expect(await this.#send("40")).toBe("ok");
    expect(await this.#send()).toStartWith("40{");
  }

  /** The process that answers. */
  async who(): Promise<number> {
    expect(await this.#send('420["who"]')).toBe("ok");
    const answer = await this.#send();
    expect(answer).toMatch(/^430\[\d+\]$/);
    return Number(answer.slice(4, -1));
  }

  async #send(body?: string): Promise<string> {
    const sid = this.#sid === "" ? "" : `&sid=${this.#sid}`;
    const url = `${this.#site.address}/socket.io/?EIO=4&transport=polling${sid}`;
    const headers = { connection: "close", cookie: this.#cookie };
    const method = body === undefined ? "GET" : "POST";
    const response = await fetch(url, { method, headers, ...(body !== undefined && { body }) });
    expect(response.status).toBe(200);
    this.#cookie = response.headers.get("set-cookie")?.split(";")[0] ?? this.#cookie;
    return response.text();
  }
}

test("socket.io polls with four processes and two workers", async () => {
  const site = await start("server.js", "sticky = true", { top: "workers = 2" });
  const pids = await Promise.all(
    Array.from({ length: 12 }, async () => {
      const client = new Polling(site);
      await client.open();
      const answers = [await client.who(), await client.who(), await client.who()];
      expect(new Set(answers).size).toBe(1);
      return answers[0];
    }),
  );
  expect(new Set(pids).size).toBe(4);
  await site.gateway.end();
});
