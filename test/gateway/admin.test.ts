/**
 * The admin address: who may see and change what, what a stranger can do to it, and that what
 * happens to its process happens to nobody else.
 */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

import type { GatewayStatus } from "../../src/wire/gateway-status.ts";
import type { StatusNews } from "../../src/gateway/supervisor/status-changes.ts";
import { until, within } from "../helpers/condition.ts";
import { metricsOf, readExposition } from "../helpers/exposition.ts";
import {
  type Gateway,
  gatewayEnvironment,
  gateways,
  statusOf,
  writeApplication,
} from "../helpers/gateway.ts";
import { binaryPath } from "../helpers/binary-server.ts";
import { pidOf, type ProcessFacts, untilGone } from "../helpers/processes.ts";
import { sendAll, takeDescriptor } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

interface Site {
  readonly gateway: Gateway;
  readonly directory: string;
  /** Of the application, and of the admin address. */
  readonly address: string;
  readonly admin: string;
  readonly token: string;
}

const onTcp = '[admin]\nlisten = "127.0.0.1:0"\n';

/** @param more lines before the first table. */
function configOf(admin: string, more = ""): string {
  return `listen = ["127.0.0.1:0"]\n${more}${admin}[[apps]]\nname = "shop"\nroot = "app"\n`;
}

async function serving(more?: string): Promise<Site> {
  const directory = temporaryDirectory();
  writeApplication(directory);
  const file = join(directory, "pool.toml");
  writeFileSync(file, configOf(onTcp, more));
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  const adminAddress = await until("it says so", () => adminOf(gateway));
  const said = await run("dashboard", "--pid", String(gateway.pid));
  const token = /token[= ]([\w-]{43})\n$/.exec(said)?.[1] ?? "";
  return { gateway, directory, address, admin: adminAddress, token };
}

function adminOf(gateway: Gateway): string | undefined {
  return gateway.lines.flatMap((line) => /^admin address (.*)$/.exec(line)?.[1] ?? []).at(-1);
}

async function run(...args: readonly string[]): Promise<string> {
  await using child = Bun.spawn([binaryPath, ...args], {
    env: gatewayEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  return (await child.stdout.text()) + (await child.stderr.text());
}

function adminProcess(gateway: Gateway): ProcessFacts | undefined {
  return gateway.processes.find(({ command }) => command.endsWith(" gateway-admin"));
}

const names = (status: GatewayStatus | undefined) => status?.applications.map(({ name }) => name);

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

async function change({ admin, token }: Site, request: object): Promise<[number, string]> {
  const init = { method: "POST", headers: bearer(token), body: JSON.stringify(request) };
  const answer = await fetch(`${admin}/change`, init);
  return [answer.status, await answer.text()];
}

/** Sends bytes as they are. @returns the answer's first line; empty: none came. */
async function firstLine(admin: string, text: string): Promise<string> {
  const { hostname, port } = new URL(admin);
  const socket = connect(Number(port), hostname);
  const ended = Promise.withResolvers<void>();
  let answer = "";
  socket.on("data", (bytes) => (answer += bytes.toString("latin1")));
  socket.on("error", () => ended.resolve());
  socket.on("close", () => ended.resolve());
  socket.write(text);
  await within("the answer", ended.promise);
  return answer.split("\r\n")[0] ?? "";
}

test("figures and health are for whoever reaches it, and count what a client counts", async () => {
  const { gateway, address, admin } = await serving();
  for (let sent = 0; sent < 5; sent += 1) await (await fetch(`${address}/`)).text();
  const { values } = await until("all are counted", async () => {
    const found = readExposition(await metricsOf(admin));
    const over = found.values.get('application_pool_requests_total{app="shop",status="2xx"}');
    return over === 5 && found;
  });
  expect(values.get('application_pool_request_seconds_count{app="shop"}')).toBe(5);
  expect(values.get('application_pool_queue_seconds_count{app="shop"}')).toBe(5);
  expect(values.get('application_pool_app_spawns_total{app="shop",result="ok"}')).toBe(1);
  for (const process of ["supervisor", "worker", "pool server", "admin"]) {
    const labels = `{process="${process}",number="0"}`;
    expect(values.get(`application_pool_resident_memory_bytes${labels}`)).toBeGreaterThan(1e6);
    expect(values.get(`application_pool_open_fds${labels}`)).toBeGreaterThan(2);
  }
  expect((await fetch(`${admin}/healthz`)).status).toBe(200);
  expect((await fetch(`${admin}/readyz`)).status).toBe(200);
  expect((await fetch(`${admin}/healthz`, { method: "HEAD" })).status).toBe(200);
  expect((await fetch(`${admin}/none`)).status).toBe(404);
  expect((await fetch(`${admin}/metrics`, { method: "POST" })).status).toBe(405);
  await gateway.end();
});

test("all else wants the token; a page of another origin or name gets nothing", async () => {
  const site = await serving();
  const { gateway, admin, token } = site;
  const wrong = `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`;
  for (const headers of [{}, bearer(""), bearer(wrong), bearer(`${token}A`)]) {
    for (const path of ["/status.json", "/hour.json?app=shop", "/events"]) {
      expect((await fetch(admin + path, { headers })).status).toBe(401);
    }
    const init = { method: "POST", headers, body: '{"command":"restart","app":"shop"}' };
    expect((await fetch(`${admin}/change`, init)).status).toBe(401);
  }
  const status = await fetch(`${admin}/status.json`, { headers: bearer(token) });
  expect(await status.json()).toMatchObject({ pid: gateway.pid, applications: [{ name: "shop" }] });
  for (const headers of [
    { Host: "evil.example" },
    { Host: "127.0.0.1.evil.example" },
    { Origin: "http://evil.example" },
    { Origin: "null" },
  ]) {
    const answer = await fetch(`${admin}/metrics`, { headers });
    expect([421, 403]).toContain(answer.status);
  }
  expect((await fetch(`${admin}/metrics`, { headers: { Origin: admin } })).status).toBe(200);
  expect(gateway.log).not.toContain(token);
  expect(gateway.lines.join()).not.toContain(token);
  await gateway.end();
});

test("with the token processes are restarted and detached, requests held; nothing is ended", async () => {
  const site = await serving();
  const { gateway, address } = site;
  const answeringPid = async () => Number((await (await fetch(address)).text()).split(" ")[2]);
  const first = await answeringPid();
  expect(await change(site, { command: "restart", app: "shop" })).toEqual([200, "{}\n"]);
  const second = await answeringPid();
  expect(second).not.toBe(first);
  expect(await change(site, { command: "detach", pid: second })).toEqual([200, "{}\n"]);
  expect(await answeringPid()).not.toBe(second);
  await change(site, { command: "pause", app: "shop", refuse: true });
  await until("it is held", async () => (await fetch(address)).status === 503);
  await change(site, { command: "resume", app: "shop" });
  await until("it goes on", async () => (await fetch(address)).status === 200);
  expect(await change(site, { command: "restart", app: "none" })).toEqual([
    409,
    expect.stringContaining("there is no application 'none'"),
  ]);
  for (const command of ["stop", "reload", "dashboard", "status"]) {
    expect((await change(site, { command }))[0]).toBe(403);
  }
  expect((await change(site, {}))[0]).toBe(409);
  await gateway.end();
});

test("the page runs what it holds and nothing else; events come once a second, to a few", async () => {
  const { gateway, admin, token } = await serving();
  const answer = await fetch(`${admin}/`);
  const page = await answer.text();
  const policy = answer.headers.get("content-security-policy") ?? "";
  for (const element of ["script", "style"]) {
    const [, text = ""] = new RegExp(`<${element}>([^]*?)</${element}>`).exec(page) ?? [];
    const hash = new Bun.CryptoHasher("sha256").update(text).digest("base64");
    expect(policy).toContain(`${element}-src 'sha256-${hash}'`);
  }
  expect(page).not.toMatch(/(?:src|href)=|innerHTML|https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
  const leaving = new AbortController();
  const init = { headers: bearer(token), signal: leaving.signal };
  const listeners = await Promise.all(
    Array.from({ length: 8 }, () => fetch(`${admin}/events`, init)),
  );
  expect(listeners.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
  expect((await fetch(`${admin}/events`, init)).status).toBe(503);
  let text = "";
  for await (const bytes of listeners[0]?.body ?? []) {
    text += new TextDecoder().decode(bytes);
    if (text.split("\n\n").length > 3) break;
  }
  for (const event of text.split("\n\n").slice(0, -1)) {
    expect(JSON.parse(event.replace(/^data: /, ""))).toMatchObject({ pid: gateway.pid });
  }
  leaving.abort();
  const again = { headers: bearer(token) };
  await until("there is room again", async () => {
    const next = await fetch(`${admin}/events`, again);
    await next.body?.cancel();
    return next.status === 200;
  });
  await gateway.end();
});

test("after the first, an event has the applications alone that have changed", async () => {
  const directory = temporaryDirectory();
  for (const name of ["one", "two", "three"]) writeApplication(directory, name);
  const file = join(directory, "pool.toml");
  const configure = (...roots: string[]): void => {
    const apps = roots.map((name) => `[[apps]]\nroot = "${name}"\nprefix = "/${name}"\n`);
    writeFileSync(file, `listen = ["127.0.0.1:0"]\n${onTcp}${apps.join("")}`);
  };
  configure("one", "two", "three");
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  const admin = await until("it says so", () => adminOf(gateway));
  const [, token = ""] =
    /token=([\w-]+)/.exec(await run("dashboard", "--pid", `${gateway.pid}`)) ?? [];
  const leaving = new AbortController();
  const init = { headers: bearer(token), signal: leaving.signal };
  const events: GatewayStatus[] = [];
  const reading = (async () => {
    let text = "";
    for await (const bytes of (await fetch(`${admin}/events`, init)).body ?? []) {
      const parts = (text + new TextDecoder().decode(bytes)).split("\n\n");
      text = parts.pop() ?? "";
      events.push(...parts.map((one) => JSON.parse(one.slice("data: ".length)) as StatusNews));
    }
  })().catch(() => {});
  await until("the whole has come", () => events.length > 0);
  expect(names(events[0])).toEqual(["one", "two", "three"]);
  // The first changes are those since they were asked for last: all.
  await until("nothing changes", () => names(events.at(-1))?.length === 0);
  expect(events.at(-1)?.pool?.applications).toEqual([]);
  const quiet = events.length;
  await (await fetch(`${address}/two/`)).text();
  await until("it is told", () => events.slice(quiet).some((event) => names(event)?.length === 1));
  const told = new Set(events.slice(quiet).flatMap((event) => names(event) ?? []));
  expect([...told]).toEqual(["two"]);
  configure("one", "two");
  gateway.signal("SIGHUP");
  await until("it is gone", () =>
    events.some((event) => (event as Partial<StatusNews>).gone?.applications.includes("three")),
  );
  leaving.abort();
  await reading;
  await gateway.end();
});

test("what is malformed or too large is refused, a crowd is not let in, and it serves on", async () => {
  const { gateway, admin } = await serving();
  const host = `Host: ${new URL(admin).host}\r\n`;
  const long = "x".repeat(9000);
  expect(await firstLine(admin, "nonsense\r\n\r\n")).toContain(" 400 ");
  expect(await firstLine(admin, `GET / HTTP/1.1\r\n${host}X: ${long}\r\n\r\n`)).toContain(" 431 ");
  const post = `POST /change HTTP/1.1\r\n${host}Content-Length: 9000\r\n\r\n${long}`;
  expect(await firstLine(admin, post)).toContain(" 413 ");
  expect(await firstLine(admin, `GET / HTTP/1.1\r\n\r\n`)).toContain(" 400 ");
  const { hostname, port } = new URL(admin);
  const crowd = Array.from({ length: 100 }, () => connect(Number(port), hostname));
  for (const one of crowd) one.on("error", () => {});
  await until("some are sent away", () => crowd.filter(({ closed }) => closed).length >= 36);
  for (const one of crowd) one.destroy();
  await until(
    "it serves",
    async () => (await fetch(`${admin}/healthz`).catch(() => undefined))?.ok,
  );
  await gateway.end();
});

test("its process is replaced when it dies or hangs, and nothing else notices", async () => {
  const { gateway, address, admin, token } = await serving('silence_time = "1s"\n');
  const workers = gateway.workers.map(({ pid }) => pid);
  for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
    const old = pidOf(adminProcess(gateway));
    process.kill(old, signal);
    await untilGone(old);
    expect((await fetch(address)).status).toBe(200);
    await until("there is another", () => adminProcess(gateway));
    const status = await fetch(`${admin}/status.json`, { headers: bearer(token) });
    expect(status.status).toBe(200);
    await status.text();
  }
  await gateway.logged("admin process does not answer");
  expect(gateway.workers.map(({ pid }) => pid)).toEqual(workers);
  await gateway.end();
});

test.skipIf(process.geteuid?.() !== 0)(
  "its process owns nothing, is fenced in, and is ended for what it may not say",
  async () => {
    const { gateway, admin } = await serving();
    const pid = pidOf(adminProcess(gateway));
    await until("it serves", async () => (await fetch(`${admin}/healthz`)).ok);
    const facts = readFileSync(`/proc/${pid}/status`, "latin1");
    expect(facts).toMatch(/^Seccomp:\t2$/m);
    expect(facts).not.toMatch(/^Uid:\t0\t/m);
    for (const offence of [
      '{"kind":"ready"}\n',
      '{"kind":"pong"}\n'.repeat(100),
      '{"kind":"ask","id":1,"question":{"what":"metrics"}}\n'.repeat(100),
      '{"kind":"ask","id":1,"question":{"what":"all"}}\n',
      " ".repeat(20_000),
    ]) {
      const old = await until("it is there", () => adminProcess(gateway));
      await until("it serves", async () => (await fetch(`${admin}/healthz`)).ok);
      using control = takeDescriptor(old.pid, 3);
      await sendAll(control.number, Buffer.from(offence)).catch(() => {});
      await untilGone(old.pid);
    }
    const line = "admin process ended for what it says";
    await until("all is logged", () => gateway.log.split(line).length === 6);
    await gateway.end();
  },
);

test("a reload moves it, refuses what is not of this machine alone, and takes it away", async () => {
  const { gateway, directory, admin } = await serving();
  const file = join(directory, "pool.toml");
  const reload = (text: string): void => {
    writeFileSync(file, configOf(text));
    gateway.signal("SIGHUP");
  };
  reload('[admin]\nlisten = "0.0.0.0:0"\n');
  await until("it is refused", () => gateway.log.includes("is not of this machine alone"));
  expect((await fetch(`${admin}/readyz`)).status).toBe(200);
  const path = join(directory, "admin.sock");
  reload(`[admin]\nlisten = "unix:${path}"\n`);
  await until("it has moved", () => adminOf(gateway) === `unix:${path}`);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const unix = { unix: path };
  await until("it serves", async () => (await fetch("http://pool/readyz", unix)).status === 200);
  expect(await fetch(`${admin}/readyz`).catch(() => "nobody")).toBe("nobody");
  reload("");
  await until("it is gone", () => !existsSync(path) && adminProcess(gateway) === undefined);
  expect(await run("dashboard", "--pid", String(gateway.pid))).toContain("set listen in [admin]");
  expect((await statusOf(gateway)).processes.map(({ kind }) => kind)).not.toContain("admin");
  await gateway.end();
});
