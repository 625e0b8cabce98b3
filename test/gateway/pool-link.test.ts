/** A worker's way to the pool server: what happens when that dies, and who gets its places. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { RefusedError } from "../../src/gateway/policy/failures.ts";
import type { PoolKeeper } from "../../src/gateway/supervisor/pool-keeper.ts";
import { PoolLink } from "../../src/gateway/worker/pool-link.ts";
import { socketPair } from "../../src/native/socket.ts";
import {
  attachPoolServer,
  BusyError,
  ConfigureError,
  GoneForGoodError,
  ServerGoneError,
} from "../../src/parent/index.ts";
import { until } from "../helpers/condition.ts";
import { pidOf, stop } from "../helpers/processes.ts";
import { rejection } from "../parent/rejection.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { ProxiedGateway } from "./proxied.ts";
import { app, configOf } from "./support.ts";

const temporaryDirectory = temporaryDirectories();

/** Says which process it is, and what it was configured with; `/slow` takes a moment. */
const program = `
  export default { async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/slow") await Bun.sleep(300);
    return new Response(pathname === "/color" ? process.env.COLOR : String(process.pid));
  } };
`;

/** Requests one after the other until told to stop. @returns their statuses. */
async function visit(
  gateway: ProxiedGateway,
  host: string,
  goOn: (count: number) => boolean,
): Promise<number[]> {
  const statuses: number[] = [];
  while (goOn(statuses.length)) {
    const response = await gateway.fetch("/", { headers: { Host: host } });
    statuses.push(response.status);
    await response.text();
  }
  return statuses;
}

test("the pool server killed under load: no request fails, and instances are configured anew", async () => {
  await using gateway = ProxiedGateway.start(temporaryDirectory(), { main: program }, {}, [], {
    options: { env: { COLOR: "blue" } },
  });
  expect(await (await gateway.fetch("/color")).text()).toBe("blue");
  const first = pidOf(gateway.keeper);
  let isOver = false;
  const visitors = Array.from({ length: 8 }, () => visit(gateway, "main", () => !isOver));
  const slow = gateway.fetch("/slow");
  await until("requests are answered", () => gateway.done.length > 50);
  process.kill(first, "SIGKILL");
  await until("another server is there", () => ![undefined, first].includes(gateway.keeper.pid));
  const before = gateway.done.length;
  await until("requests are answered again", () => gateway.done.length > before + 100);
  isOver = true;
  const statuses = (await Promise.all(visitors)).flat();
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect((await slow).status).toBe(200);
  expect(await (await gateway.fetch("/color")).text()).toBe("blue");
});

test("where the pool server has died, each application has processes anew, while old ones serve", async () => {
  const directory = temporaryDirectory();
  const held = `
    import { existsSync } from "node:fs";
    export default { fetch: () => new Response(async function* () {
      yield "ser";
      while (!existsSync("${directory}/end")) await Bun.sleep(5);
      yield "ved";
    }) };
  `;
  await using gateway = ProxiedGateway.start(directory, { main: held, other: held });
  const visitOf = (Host: string) => gateway.fetch("/", { headers: { Host } });
  const answers = await Promise.all(["main", "other"].map(visitOf));
  const first = pidOf(gateway.keeper);
  process.kill(first, "SIGKILL");
  await until("another server is there", () => ![undefined, first].includes(gateway.keeper.pid));
  await gateway.keeper.admitted();
  await until("both have processes of that", async () => {
    const { applications } = await gateway.keeper.inspect();
    return applications.filter(({ instances }) => instances.length > 0).length === 2;
  });
  writeFileSync(join(directory, "end"), "");
  for (const answer of answers) expect(await answer.text()).toBe("served");
});

test("each request waits as long as it may itself, also where several share one connection", async () => {
  await using gateway = ProxiedGateway.start(temporaryDirectory(), { main: program });
  const server = pidOf(gateway.keeper);
  await stop(server);
  const patient = gateway.link.connection(60_000);
  expect(await rejection(gateway.link.connection(100))).toBeInstanceOf(BusyError);
  process.kill(server, "SIGCONT");
  expect((await patient).isOpen).toBe(true);
});

test("what is asked of a server in the moment of its start is refused, and the server goes on", async () => {
  await using gateway = ProxiedGateway.start(temporaryDirectory(), { main: program });
  expect(String(await rejection(gateway.keeper.inspect()))).toContain("no pool server now");
  await gateway.keeper.admitted();
  expect((await gateway.keeper.inspect()).count).toBe(0);
});

test("nobody waits for a server that cannot come any more, since the wake socket has ended", async () => {
  const [ours, theirs] = socketPair();
  await using access = attachPoolServer(ours.take());
  const link = new PoolLink(access, [app("main")]);
  const asked = link.connection(60_000);
  theirs.close();
  expect(await rejection(asked)).toBeInstanceOf(GoneForGoodError);
  expect(link.isClosed).toBe(true);
  expect(await rejection(link.connection(60_000))).toBeInstanceOf(ServerGoneError);
});

test("while an application is paused, none of those who may wait is one that gives way", async () => {
  const [ours, theirs] = socketPair();
  await using access = attachPoolServer(ours.take());
  const paused = app("main");
  const link = new PoolLink(access, [paused]);
  link.pause(new Map([["main", "wait"]]));
  const failed: unknown[] = [];
  const waiter = { needsFresh: true, serve() {}, fail: (error: unknown) => failed.push(error) };
  link.take(paused, { ...waiter, maxWaiting: 0, givesWay: true });
  expect(failed.splice(0)).toEqual([expect.any(RefusedError)]);
  link.take(paused, { ...waiter, maxWaiting: 1 });
  expect(failed).toEqual([]);
  link.take(paused, { ...waiter, maxWaiting: 1 });
  expect(failed).toEqual([expect.any(BusyError)]);
  theirs.close();
});

test("a request waits for a server no longer than for an instance, and then is busy", async () => {
  const limits = {
    maxHeaderBytes: 16_384,
    maxBodyBytes: 65_536,
    headMs: 30_000,
    idleMs: 60_000,
    queueMs: 100,
    responseMs: 0,
  };
  await using gateway = ProxiedGateway.start(temporaryDirectory(), { main: program }, { limits });
  // An instance may take longer to start than a request waits.
  await until("it is served", async () => (await gateway.fetch("/")).status === 200);
  const first = pidOf(gateway.keeper);
  await stop(first);
  const statuses = await Promise.all(
    Array.from({ length: 3 }, async () => (await gateway.fetch("/slow")).status),
  );
  process.kill(first, "SIGCONT");
  // The first may have found a session that was kept.
  expect(statuses.slice(1)).toEqual([503, 503]);
  await until("it is served again", async () => (await gateway.fetch("/")).status === 200);
});

test("a duty that is more than a server takes is refused as a whole, and the next is not", async () => {
  await using gateway = ProxiedGateway.start(temporaryDirectory(), { main: program });
  const { keeper } = gateway;
  const roots = async () => (await keeper.inspect()).applications.map(({ root }) => root);
  await keeper.use(configOf({ apps: [app("old", { root: "/old" })] }));
  // Some 2 MiB each, and 16 MiB are possible.
  const env = { A: "x".repeat(1_900_000) };
  const many = Array.from({ length: 12 }, (_, index) =>
    app(`m${index}`, { root: `/m${index}`, options: { env } }),
  );
  expect(await rejection(keeper.use(configOf({ apps: many })))).toBeInstanceOf(ConfigureError);
  await keeper.use(configOf({ apps: [app("next", { root: "/next" })] }));
  expect(await roots()).toEqual(["/next"]);
});

async function isShared(keeper: PoolKeeper): Promise<boolean> {
  const { applications } = await keeper.inspect();
  return applications.some(({ instances }) => instances.some(({ sessions }) => sessions > 1));
}

describe("a request whose application has one process, which is busy", () => {
  const limits = {
    maxHeaderBytes: 16_384,
    maxBodyBytes: 65_536,
    headMs: 30_000,
    idleMs: 60_000,
    queueMs: 1_000,
    responseMs: 0,
  };
  const pool = { max: 6, maxPerApp: 0, maxIdleSeconds: 60, maxQueue: 0 };
  // It is busy until it is told to go on.
  const gate = `
    let open = () => {};
    const gate = new Promise((resolve) => { open = resolve; });
    export default { async fetch(request) {
      if (new URL(request.url).pathname === "/wait") await gate;
      return new Response(String(process.pid));
    } };
    process.on("SIGUSR2", open);`;

  async function statusBesides(globalQueue: boolean): Promise<number> {
    const changes = { limits, pool: { ...pool, globalQueue } };
    const one = { options: { maxInstances: 1, concurrency: 1 } };
    const apps = { main: gate };
    await using gateway = ProxiedGateway.start(temporaryDirectory(), apps, changes, [], one);
    // An instance may take longer to start than a request waits.
    const pid = await until("it is served", async () => {
      const answer = await gateway.fetch("/");
      return answer.ok ? Number(await answer.text()) : undefined;
    });
    expect(pid).toBeGreaterThan(1);
    const connection = await gateway.link.connection();
    await until("nothing is kept", async () => (await connection.getActive()) === 0);
    const waiting = gateway.fetch("/wait");
    await until("it is busy", async () => (await connection.getActive()) === 1);
    const besides = gateway.fetch("/");
    if (globalQueue) await besides;
    else await until("it has two", () => isShared(gateway.keeper));
    process.kill(pid, "SIGUSR2");
    expect((await waiting).status).toBe(200);
    return (await besides).status;
  }

  test("waits for it as long as it may, and then is busy", async () => {
    expect(await statusBesides(true)).toBe(503);
  });

  test("is bound to it where there is no global queue, and waits there", async () => {
    expect(await statusBesides(false)).toBe(200);
  });
});

test("two applications that compete for one place are both served", async () => {
  const pool = { max: 1, maxPerApp: 0, maxIdleSeconds: 60, maxQueue: 0, globalQueue: true };
  const apps = { main: program, other: program };
  await using gateway = ProxiedGateway.start(temporaryDirectory(), apps, { pool });
  const counts = { main: 0, other: 0 };
  const enough = 40;
  const isOver = (): boolean => Math.min(counts.main, counts.other) >= enough;
  const visitors = (["main", "other"] as const).flatMap((host) =>
    Array.from({ length: 4 }, () =>
      visit(gateway, host, (count) => {
        if (count > 0) counts[host] += 1;
        return !isOver();
      }),
    ),
  );
  const statuses = (await Promise.all(visitors)).flat();
  expect(new Set(statuses)).toEqual(new Set([200]));
  const { counters } = await gateway.keeper.inspect();
  // One had to make room for the other.
  expect(counters.retirements["evicted"]).toBeGreaterThan(0);
});
