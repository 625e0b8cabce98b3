/**
 * Programs that share their listener between processes or threads of their own: node:cluster under
 * Node and under Bun, and servers that listen in a thread.
 */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until, within } from "../helpers/condition.ts";
import { type Gateway, gateways, poolOf, statusOf } from "../helpers/gateway.ts";
import { isRunning, pidOf, stop } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

interface Site {
  readonly gateway: Gateway;
  readonly address: string;
  readonly root: string;
}

async function start(type: "node" | "bun", files: Readonly<Record<string, string>>): Promise<Site> {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  mkdirSync(root);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  const config = join(directory, "pool.toml");
  const app = `[[apps]]\nroot = "app"\ntype = "${type}"\nshow_errors = true\n`;
  // Of several of ours one may have sessions that a round of requests makes no use of.
  writeFileSync(
    config,
    `listen = ["127.0.0.1:0"]\nworkers = 1\n[log]\nlevel = 1\naccess = "off"\n${app}`,
  );
  const gateway = startGateway(["--config", config]);
  return { gateway, address: await gateway.address(), root };
}

async function ask({ address }: Site, path = "/", method = "GET"): Promise<string> {
  const response = await fetch(`${address}${path}`, { method, headers: { connection: "close" } });
  return response.status === 200 ? response.text() : String(response.status);
}

function restart({ root }: Site): void {
  mkdirSync(join(root, "tmp"), { recursive: true });
  writeFileSync(join(root, "tmp/restart.txt"), "");
}

/** The instance, and what the pool has begun to start so far. */
async function instanceOf({ gateway }: Site) {
  const { applications, counters } = await poolOf(gateway);
  return { pid: pidOf(applications[0]?.instances[0]), begun: counters.spawnsBegun };
}

/** `/slow` is answered once there is a file `go`. */
const slowly = `
  if (request.url === "/slow") {
    const timer = setInterval(() => {
      if (!require("node:fs").existsSync("go")) return;
      clearInterval(timer);
      response.end("slow");
    }, 10);
    return;
  }`;

/** As Node's documentation has it, with messages, and another worker for each that dies. */
const clustered = `
  const cluster = require("node:cluster");
  const { createServer } = require("node:http");
  if (cluster.isPrimary) {
    for (let n = 0; n < 3; n++) cluster.fork();
    cluster.on("exit", () => cluster.fork());
    cluster.on("message", (worker, { asked }) => worker.send({ answered: asked }, () => {}));
  } else {
    createServer((request, response) => {
      if (request.url === "/die") process.exit(1);
      // The next session is another's.
      if (request.url !== "/") response.shouldKeepAlive = false;
      if (request.url === "/keep-channel") {
        const stdio = ["ignore", "ignore", "ignore", 3];
        return require("node:child_process").spawn("sleep", ["60"], { stdio })
          .once("spawn", () => response.end(String(process.pid)));
      }
      if (request.url === "/new") for (const end = Date.now() + 5; Date.now() < end;);
      ${slowly}
      process.once("message", ({ answered }) => response.end([process.pid, answered].join()));
      process.send({ asked: cluster.worker.id });
    }).listen(8000);
  }`;

/** Those of a cluster, once all three of them have sessions. */
async function workersOf(site: Site): Promise<number[]> {
  return until("three workers answer", async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask(site, "/new")));
    for (const answer of answers) expect(answer).toMatch(/^\d+,\d+$/);
    const workers = new Set(answers.map((answer) => Number(answer.split(",")[0])));
    return workers.size === 3 && [...workers];
  });
}

test("node: workers of a cluster have the sessions, and one process is the instance", async () => {
  const site = await start("node", { "app.js": clustered });
  const workers = await workersOf(site);
  const { pid, begun } = await instanceOf(site);
  expect(begun).toBe(1);
  expect(workers).not.toContain(pid);
  await site.gateway.end();
});

test("node: the listener outlives all workers of a cluster", async () => {
  const site = await start("node", { "app.js": clustered });
  const workers = await workersOf(site);
  const before = await instanceOf(site);
  for (const worker of workers) process.kill(worker, "SIGKILL");
  await until("others answer", async () => /^\d+,\d+$/.test(await ask(site)));
  expect(await instanceOf(site)).toEqual(before);
  await site.gateway.end();
});

test("node: a worker of a cluster that is gone has no sessions, whoever has its channel", async () => {
  const site = await start("node", { "app.js": clustered });
  const workers = await workersOf(site);
  const worker = Number(await ask(site, "/keep-channel"));
  expect(workers).toContain(worker);
  process.kill(worker, "SIGKILL");
  await until("its end has been taken", () => !existsSync(`/proc/${worker}`));
  const others = await workersOf(site);
  expect(others).not.toContain(worker);
  await site.gateway.end();
});

test("node: what a worker had not taken at its end is another's, whoever has its channel", async () => {
  const site = await start("node", { "app.js": clustered });
  await workersOf(site);
  const worker = Number(await ask(site, "/keep-channel"));
  await stop(worker);
  const asked = Array.from({ length: 6 }, () => ask(site, "/new"));
  // It is handed one of the first three sessions; the others' requests are answered.
  await until("four are answered", () => {
    return asked.filter((answer) => Bun.peek.status(answer) === "fulfilled").length >= 4;
  });
  process.kill(worker, "SIGKILL");
  for (const answer of await within("answers", Promise.all(asked))) {
    expect(answer).toMatch(/^\d+,\d+$/);
  }
  await site.gateway.end();
});

test("node: a restart lets the workers of a cluster finish, and all of them go", async () => {
  const site = await start("node", { "app.js": clustered });
  const workers = await workersOf(site);
  const { pid } = await instanceOf(site);
  const slow = Array.from({ length: 3 }, () => ask(site, "/slow"));
  await until("they are under way", async () => {
    const { pool } = await statusOf(site.gateway);
    return (pool?.sessions ?? 0) >= 3;
  });
  restart(site);
  expect(await ask(site)).toMatch(/^\d+,\d+$/);
  writeFileSync(join(site.root, "go"), "");
  expect(await Promise.all(slow)).toEqual(["slow", "slow", "slow"]);
  await until("the old ones have gone", () => ![pid, ...workers].some((each) => isRunning(each)));
  await site.gateway.end();
});

/** Two workers, and a third once there is a file `more`. They hold `/FILE` until there is one. */
const growing = `
  const cluster = require("node:cluster");
  const { existsSync } = require("node:fs");
  const once = (file, then) => existsSync(file) ? then() : setTimeout(once, 5, file, then);
  if (cluster.isPrimary) {
    cluster.on("listening", ({ id }) => console.log("worker", id, "listens"));
    for (const file of [".", ".", "more"]) once(file, () => cluster.fork());
  } else {
    require("node:http").createServer((request, response) => {
      const file = request.url.slice(1);
      if (file === "header") response.setHeader("Connection", "close");
      else if (file === "property") response.shouldKeepAlive = false;
      else if (file !== "") return console.log("holds", file), once(file, () => answer(response));
      answer(response);
    }).listen(8000);
    const answer = (response) => response.end(String(process.pid));
  }`;

test("node: a worker that comes later gets sessions, though the others keep theirs", async () => {
  const site = await start("node", { "app.js": growing });
  let rounds = 0;
  /** Six requests, each on a session of its own. @returns the workers that have answered them. */
  const round = async (): Promise<string[]> => {
    rounds += 1;
    const file = `go-${rounds}`;
    const answers = Array.from({ length: 6 }, () => ask(site, `/${file}`));
    await until("all are held", () => site.gateway.log.split(`holds ${file}\n`).length === 7);
    writeFileSync(join(site.root, file), "");
    return [...new Set(await Promise.all(answers))];
  };
  await round();
  await site.gateway.logged("worker 1 listens", "worker 2 listens");
  const before = await until("two answer", async () => {
    const workers = await round();
    return workers.length === 2 && workers;
  });
  writeFileSync(join(site.root, "more"), "");
  await site.gateway.logged("worker 3 listens");
  // The sessions of the others end with these answers.
  await round();
  expect((await round()).filter((worker) => !before.includes(worker))).toHaveLength(1);
  await site.gateway.end();
});

test.each(["/header", "/property"])(
  "node: a program may end its session with an answer: %s",
  async (path) => {
    const site = await start("node", { "app.js": growing });
    await ask(site, path);
    await site.gateway.logged("worker 1 listens", "worker 2 listens");
    expect(await ask(site, path)).not.toBe(await ask(site, path));
    await site.gateway.end();
  },
);

test("node: no worker of a cluster outlives its first process", async () => {
  const site = await start("node", { "app.js": clustered });
  const workers = await workersOf(site);
  process.kill((await instanceOf(site)).pid, "SIGKILL");
  await until("they have gone", () => !workers.some((each) => isRunning(each)));
  expect(await ask(site)).toMatch(/^\d+,\d+$/);
  await site.gateway.end();
});

test("node: a cluster's workers may be another file, and its first process may listen too", async () => {
  const site = await start("node", {
    "package.json": '{ "type": "module", "main": "start.js" }',
    "start.js": `
      import cluster, { fork } from "node:cluster";
      import { createServer } from "node:http";
      const exec = new URL("worker.js", import.meta.url).pathname;
      cluster.setupPrimary({ exec, args: ["told"] });
      fork();
      createServer((request, response) => response.end("figures")).listen(0, "127.0.0.1");
      export default (request, response) => response.end("not this");`,
    "worker.js": `
      import { createServer } from "node:http";
      createServer((request, response) => response.end(process.argv[2])).listen(8000);`,
  });
  expect(await ask(site)).toBe("told");
  await site.gateway.end();
});

test("bun: a program of node:cluster is its only worker", async () => {
  const site = await start("bun", {
    "server.ts": `
      import cluster, { isPrimary } from "node:cluster";
      import { createServer } from "node:http";
      if (cluster.isPrimary) {
        for (let n = 0; n < 3; n++) cluster.fork();
      } else {
        cluster.worker?.on("message", () => {});
        process.send?.("ready");
        createServer((request, response) => {
          response.end([process.pid, isPrimary, cluster.isWorker, cluster.worker?.id].join());
        }).listen(8000);
      }`,
  });
  const answer = await ask(site);
  expect(answer).toBe(`${(await instanceOf(site)).pid},false,true,1`);
  expect(await ask(site)).toBe(answer);
  await site.gateway.logged("the program is its only worker here");
  await site.gateway.end();
});

test("node: a server that listens in a thread is the application, also when it restarts", async () => {
  const site = await start("node", {
    "app.js": `
      const { Worker, isMainThread, threadId } = require("node:worker_threads");
      if (isMainThread) new Worker(__filename);
      else require("node:http").createServer((request, response) => {
        ${slowly}
        response.end([process.pid, threadId].join());
      }).listen(8000);`,
  });
  const { pid } = await until("it is there", async () => {
    expect(await ask(site)).toMatch(/^\d+,1$/);
    return instanceOf(site);
  });
  const slow = ask(site, "/slow");
  await until(
    "it is under way",
    async () => ((await statusOf(site.gateway)).pool?.active ?? 0) > 0,
  );
  restart(site);
  await until("another one answers", async () => !(await ask(site)).startsWith(`${pid},`));
  writeFileSync(join(site.root, "go"), "");
  expect(await slow).toBe("slow");
  await until("the old one has gone", () => !isRunning(pid));
  await site.gateway.end();
});
