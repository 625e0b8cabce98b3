/**
 * Node applications of every form: how they are found to serve, how they fail, how they end; and
 * how stuck instances end, of Bun too.
 */
import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";

import { sendSignal, signals } from "../../src/native/process.ts";
import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until, within } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { childrenOf, isRunning, untilGone } from "../helpers/processes.ts";
import { sendAll } from "../helpers/raw-client.ts";
import { BareInstance } from "./bare-instance.ts";
import { spawnerScene } from "./spawner-scene.ts";
import {
  connected,
  exchange,
  failureOf,
  get,
  notebook,
  pageOf,
  parseAnswer,
  post,
  spawnRequest,
  writeApp,
} from "./support.ts";

const { directory, spawner, lines, isTold } = spawnerScene();
let made = 0;

/**
 * Instances of node and bun that are stuck and whose lifeline is closed, of a spawner that leaves
 * them to themselves; and a healthy one. They take ten seconds to end, in which other tests run.
 */
async function startStuck() {
  const said: string[] = [];
  const patient = new BuiltinSpawner({
    notify: notebook().notify,
    writeOutput: (_pid, _root, line) => said.push(line),
    baseDirectory: directory,
    endTimes: { retiredMs: 60_000, shutdownMs: 60_000, terminatedMs: 60_000 },
  });
  // It waits in the kernel for ever; a loop would take a processor from the other tests.
  const stick = `console.log("stuck " + process.pid);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`;
  const node = `require("http").createServer(() => { ${stick} }).listen(1)`;
  const bun = `export default { fetch() { ${stick} } }`;
  const roots = {
    node: writeApp(directory, "stuck-node", { "app.js": node }),
    bun: writeApp(directory, "stuck-bun", { "server.ts": bun }),
    healthy: writeApp(directory, "healthy", { "app.js": `${httpHello()}.listen(1)` }),
  };
  const instances = await Promise.all([
    patient.spawn(spawnRequest(roots.node, { appType: "node" })),
    patient.spawn(spawnRequest(roots.bun, { appType: "bun" })),
  ]);
  const pids = instances.map(({ pid }) => pid);
  for (const instance of instances) {
    using session = connected(instance);
    await sendAll(session.number, get());
    await until("it is stuck", () => said.includes(`stuck ${instance.pid}`));
  }
  // Whoever reads of this one's lifeline learns at once that there is nothing yet.
  const healthy = await new BareInstance(directory).begin(roots.healthy, "node", {
    isLifelineNonBlocking: true,
  });
  const helpers = pids.flatMap((pid) => childrenOf(pid).map((child) => child.pid));
  for (const instance of instances) instance.release();
  return { pids, helpers, healthy, close: () => patient.close(new AbortController().signal) };
}

let stuck: ReturnType<typeof startStuck>;

beforeAll(() => {
  stuck = startStuck();
});

function spawn(files: Readonly<Record<string, string>>): Promise<Instance> {
  made += 1;
  return spawner.spawn(
    spawnRequest(writeApp(directory, `app-${made}`, files), { appType: "node" }),
  );
}

const program = (source: string) => spawn({ "app.js": source });

async function ask(instance: Instance, bytes = get()) {
  return parseAnswer(await exchange(instance, bytes));
}

async function bodyOf(instance: Instance, bytes = get()): Promise<string> {
  const { body } = await ask(instance, bytes);
  instance.release();
  return body;
}

const module = '{ "type": "module" }';
const hello = 'http.createServer((_, response) => response.end("ok"))';

const kinds: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ["server.js", { "server.js": `const http = require("http"); ${hello}.listen();` }],
  [
    "a main that is an ES module",
    {
      "package.json": '{ "main": "lib/main.mjs" }',
      "lib/main.mjs": `import http from "node:http"; await null; ${hello}.listen(80);`,
    },
  ],
  [
    "a package of ES modules",
    { "package.json": module, "index.js": `import * as http from "http"; ${hello}.listen("1");` },
  ],
  [
    "a program that listens if it is the main one",
    {
      "app.js": `const http = require("http"); if (require.main === module) ${hello}.listen(1);`,
    },
  ],
  ["one that listens late", { "app.js": `setTimeout(() => {${httpHello()}.listen(1)}, 30)` }],
  [
    "one that listens on a path",
    { "app.js": `${httpHello()}.listen({ path: "/nowhere/at/all" })` },
  ],
  ["an exported function", { "app.js": "module.exports = (_, response) => response.end('ok')" }],
  [
    "an exported function that is async, with something else under way",
    {
      "app.js": `setInterval(() => {}, 9);
        exports.default = async (_, response) => { await null; response.end("ok"); };`,
    },
  ],
  [
    "a default export with fetch",
    { "package.json": module, "app.js": "export default { fetch: () => new Response('ok') }" },
  ],
  ["module.exports with fetch", { "app.js": "exports.fetch = async () => new Response('ok')" }],
  [
    "a server of https, as if its TLS had been taken off before",
    {
      "app.js": `require("https").createServer({}, (request, response) =>
        response.end(request.socket.encrypted ? "secure" : "ok")).listen(443);`,
    },
  ],
  [
    "the listener of an event",
    {
      "app.js": `const server = require("http").createServer();
        server.on("request", (_, response) => response.end("ok")).listen(1);`,
    },
  ],
];

function httpHello(): string {
  return hello.replace("http", 'require("http")');
}

test.each(kinds)("serves %s", async (_, files) => {
  expect(await bodyOf(await spawn(files))).toBe("ok");
});

test("calls an exported Express application", async () => {
  const express = JSON.stringify(join(import.meta.dir, "../../node_modules/express"));
  const instance = await program(`const app = require(${express})();
    app.get("/", (_, response) => response.send("ok")); module.exports = app;`);
  expect(await bodyOf(instance)).toBe("ok");
});

test("gives fetch a Request, and sends its Response", async () => {
  const instance = await program(`exports.fetch = async (request) => {
    const text = request.method + " " + request.url + " " + request.headers.get("x-a");
    const headers = new Headers([["set-cookie", "a=1"], ["x-b", "1"]]);
    // The first versions of Node 18 have lists of cookies only.
    if (headers.getSetCookie !== undefined) headers.append("set-cookie", "b=2");
    else headers.set("x-c", "one cookie");
    const body = new Blob([text, " ", await request.text()]).stream();
    return new Response(body, { status: 201, statusText: "Fine", headers });
  };`);
  const variables = { HTTP_HOST: "app.test", HTTPS: "on", HTTP_X_A: "v", REQUEST_URI: "/p?q" };
  const { status, headers, body } = await ask(instance, post("body", variables));
  expect(status).toBe("Status: 201 Fine");
  expect(headers).toContain("set-cookie: a=1");
  expect(headers).toContain("x-b: 1");
  expect(headers.some((line) => ["set-cookie: b=2", "x-c: one cookie"].includes(line))).toBe(true);
  expect(body).toBe("POST https://app.test/p?q v body");
  instance.release();
});

test("answers 500 to a fetch that fails, and goes on", async () => {
  const instance = await program(`exports.fetch = () => { throw new Error("fetch failed"); };`);
  expect((await ask(instance)).status).toBe("Status: 500 Internal Server Error");
  await until("it says why", () => lines.some((line) => line.includes("fetch failed")));
  expect(await bodyOf(instance)).toBe("Internal Server Error\n");
});

test("lets a server that listens later take over from what is exported", async () => {
  const instance = await program(`const http = require("http");
    module.exports = (_, response) => response.end("exported");
    setTimeout(() => {
      const server = http.createServer((_, response) => response.end("listening"));
      server.listen(3000, () => console.log("port", server.address().port, server.listening));
    }, 100);`);
  await until("it listens", () => lines.includes("port 3000 true"));
  expect(await bodyOf(instance)).toBe("listening");
});

test("leaves other servers alone: of another protocol, and further ones", async () => {
  const instance = await program(`const http = require("http"), net = require("net");
    const ports = [];
    const other = (server) => server.listen(0, "127.0.0.1", () => ports.push(server.address()));
    other(net.createServer((socket) => socket.end("raw")));
    http.createServer((_, response) => response.end(JSON.stringify(ports))).listen(3000);
    other(http.createServer((_, response) => response.end("second")));`);
  const ports = await until("both listen", async () => {
    const all = JSON.parse((await ask(instance)).body) as { port: number }[];
    return all.length === 2 && all.map(({ port }) => port);
  });
  const [raw, second] = ports;
  expect(await (await fetch(`http://127.0.0.1:${second}/`)).text()).toBe("second");
  const { promise, resolve } = Promise.withResolvers<string>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port: raw ?? 0,
    socket: { data: (_, bytes) => resolve(bytes.toString()) },
  });
  expect(await promise).toBe("raw");
  instance.release();
});

test("tells the program of its connections, and counts them", async () => {
  const instance = await program(`let connections = 0;
    const server = require("http").createServer((_, response) =>
      server.getConnections((_, now) => response.end([connections, now].join())));
    server.on("connection", () => { connections += 1; }).listen(1);`);
  await ask(instance);
  expect(await bodyOf(instance)).toMatch(/^2,[12]$/);
});

test("closes with the program's server, and the process ends when nothing is left", async () => {
  const instance = await program(`const server = require("http").createServer((_, response) => {
      server.close(() => console.log("server closed")); response.end("bye"); }).listen(1);`);
  expect((await ask(instance)).body).toBe("bye");
  await within("the death to be seen", instance.death);
  await until("it is read", () => lines.includes("server closed"));
  instance.release();
});

test("keeps its descriptors from the program's children, and itself out of them", async () => {
  const root = writeApp(directory, "forking", {
    "app.js": `const { fork } = require("child_process");
      const { Worker } = require("worker_threads");
      const told = new Promise((done) => fork(__dirname + "/child.js").on("message", done));
      const source = "require('worker_threads').parentPort.postMessage('worker ')";
      require("http").createServer(async (_, response) => {
        const worker = new Worker(source, { eval: true });
        const said = await new Promise((done) => worker.on("message", done));
        response.end(said + (await told));
      }).listen(1);`,
    "child.js": `const { readlinkSync, readdirSync } = require("fs");
      const links = readdirSync("/proc/self/fd").map((fd) => {
        try { return fd + " " + readlinkSync("/proc/self/fd/" + fd); } catch { return ""; } });
      process.send(links.filter((link) => link.includes("socket:")).length); process.exit();`,
  });
  const other = await spawner.spawn(spawnRequest(root, { appType: "node" }));
  // The one socket is what the child talks to its parent by.
  expect(await bodyOf(other)).toBe("worker 1");
});

test("hides from the program what made it an instance", async () => {
  const instance = await program(`require("http").createServer((_, response) =>
    response.end(JSON.stringify([process.argv.slice(1), process.cwd(), process.env.NODE_ENV,
      Object.keys(process.env).filter((name) => /^APPLICATION_/.test(name))]))).listen(1)`);
  const root = `${directory}/app-${made}`;
  expect(JSON.parse(await bodyOf(instance))).toEqual([[`${root}/app.js`], root, "production", []]);
});

test("inherits descriptors 0 to 4 and no other of ours", async () => {
  const instance = await program(`${httpHello()}.listen(1)`);
  const theirs = openDescriptors(instance.pid);
  expect([0, 1, 2, 3, 4].map((fd) => theirs.get(fd)?.split(":")[0])).toEqual([
    "/dev/null",
    "pipe",
    "pipe",
    "socket",
    "socket",
  ]);
  const more = [...theirs].filter(([fd, what]) => fd > 4 && /^(socket|\/)/.test(what));
  expect(more.map(([, what]) => what).filter((what) => what !== "/dev/null")).toEqual([]);
  instance.release();
});

const failures: readonly (readonly [string, string, string, string])[] = [
  ["throws", "throw new RangeError('boom')", "RangeError: boom", "app.js:1"],
  ["throws what is no error", "throw 'a word'", "it threw 'a word'", "a word"],
  ["does not parse", "const x = = 1", "SyntaxError: Unexpected token '='", "app.js:1"],
  ["lacks a module", "require('gone')", "Error: Cannot find module 'gone'", "app.js"],
  ["rejects", "Promise.reject(new Error('late'))", "Error: late", "app.js:1"],
  ["throws later", "setTimeout(() => { throw new Error('x1') }, 9)", "Error: x1", "app.js:1"],
  ["does not serve", "console.log('done')", "no HTTP server of its own listens", "done"],
  ["exits", "console.error('why'); process.exit(3)", "exited with status 3 before it", "why"],
  ["kills itself", "process.kill(process.pid, 9)", "was ended by SIGKILL before", "app"],
  [
    "serves HTTP/2 alone",
    "require('http2').createServer().listen(1)",
    "a server of HTTP/2 alone cannot be served",
    "app.js:1",
  ],
];

test.each(failures)("says of a program that %s what and where", async (_, source, why, where) => {
  const error = await failureOf(program(source));
  expect(error.message).toContain(why);
  expect(pageOf(error)).toContain(where);
});

const failing = (source: string) => failureOf(spawn({ "package.json": module, "app.js": source }));

test("says of an ES module that fails what and where", async () => {
  expect((await failing("await Promise.reject(new Error('in vain'))")).message).toContain(
    "in vain",
  );
  expect((await failing("import './gone.js'")).message).toContain("Cannot find module");
  expect((await failing("export default = 1")).message).toContain("SyntaxError");
});

test("goes on SIGUSR1 after the session at hand, on SIGTERM at once", async () => {
  for (const signal of [signals.SIGUSR1, signals.SIGTERM]) {
    const instance = await program(`require("http").createServer((request, response) => {
      console.log("asked " + process.pid);
      if (request.url === "/ended") setTimeout(() => response.end("ok"), 100);
    }).listen(1)`);
    const path = signal === signals.SIGUSR1 ? "/ended" : "/never";
    const answer = exchange(instance, get({ REQUEST_URI: path }));
    await isTold(`asked ${instance.pid}`);
    sendSignal(instance.pid, signal);
    await within("the death to be seen", instance.death);
    const text = await answer.catch(() => "");
    expect(text.endsWith("ok")).toBe(signal === signals.SIGUSR1);
    instance.release();
  }
});

test("dies of an error that the program does not catch, once it serves, as Node would", async () => {
  const instance = await program(`require("http").createServer((_, response) => {
    setTimeout(() => { throw new Error("uncaught"); }, 1); response.end("x"); }).listen(1)`);
  await exchange(instance, get());
  await within("the death to be seen", instance.death);
  await isTold("uncaught");
  instance.release();
});

test("lets an instance finish its session before it goes", async () => {
  const instance = await program(`require("http").createServer((_, response) => {
    console.log("asked " + process.pid);
    response.write("begin "); setTimeout(() => response.end("end"), 200); }).listen(1)`);
  const answer = exchange(instance, get());
  await isTold(`asked ${instance.pid}`);
  instance.release();
  expect(parseAnswer(await answer).body).toBe("begin end");
  await untilGone(instance.pid);
});

test("a stuck instance ends ten seconds after its lifeline, a healthy one not", async () => {
  const { pids, helpers, healthy, close } = await stuck;
  await until("both are gone", () => !pids.some(isRunning), undefined, 20_000);
  await until("nothing is left of them", () => !helpers.some(isRunning));
  // It is as old as they were stuck; its watchdog waits for the end of its lifeline alone.
  expect(parseAnswer(await exchange(healthy, get())).body).toBe("ok");
  expect(isRunning(healthy.pid)).toBe(true);
  await healthy.end();
  await close();
});
