/** What instances of all loaders do when the server has died (PROTOCOL sections 10 and 11). */
import { afterEach, describe, expect, test } from "bun:test";

import type { AppType } from "../../src/wire/app-request.ts";
import { until } from "../helpers/condition.ts";
import { childrenOf, isRunning, untilGone } from "../helpers/processes.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { BareInstance, type BareOptions } from "./bare-instance.ts";
import { nextAnswer } from "./kept-answers.ts";
import { get, parseAnswer, writeApp } from "./support.ts";

const temporaryDirectory = temporaryDirectories();

/** Requests take a moment unless they are for `/`. */
const rack = {
  "config.ru": "run ->(env) { sleep(0.2) if env['PATH_INFO'] != '/'; [200, {}, ['served']] }",
};
const wsgi = {
  "passenger_wsgi.py": `
import time
def application(environ, start_response):
    if environ["PATH_INFO"] != "/":
        time.sleep(0.2)
    start_response("200 OK", [("Content-Length", "6")])
    return [b"served"]
`,
};
const asgi = {
  "asgi.py": `
async def application(scope, receive, send):
    assert scope["type"] == "http"
    headers = [(b"content-length", b"6")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"served"})
`,
};
const node = { "app.js": 'require("http").createServer((_, to) => to.end("served")).listen();' };
/** One worker: a second that comes to listen would have the sessions of the first end. */
const cluster = {
  "app.js": `const cluster = require("cluster");
if (cluster.isPrimary) cluster.fork();
else ${node["app.js"]}`,
};
const thread = {
  "app.js": `const { isMainThread, Worker } = require("worker_threads");
if (isMainThread) new Worker(__filename);
else ${node["app.js"]}`,
};
const bun = { "server.ts": 'export default { fetch: () => new Response("served") };' };

const stuckScript = `
  require("node:child_process").spawn("sleep", ["1000"]);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
`;

function stuckPython(definition: string): string {
  const body = 'subprocess.Popen(["sleep", "1000"]); time.sleep(1000)';
  return `import subprocess, time\n${definition}\n    ${body}\n`;
}

const asgiDefinition = `async def application(scope, receive, send):
    assert scope["type"] == "http"`;

/** Of each kind: what starts a child and then is stuck. */
const stuckPrograms: readonly [AppType, Readonly<Record<string, string>>, BareOptions][] = [
  ["rack", { "config.ru": "run ->(_env) { spawn('sleep', '1000'); sleep }" }, {}],
  ["rack", { "config.ru": "run ->(_env) { spawn('sleep', '1000'); sleep }" }, { threads: 2 }],
  ["wsgi", { "passenger_wsgi.py": stuckPython("def application(environ, start_response):") }, {}],
  ["asgi", { "asgi.py": stuckPython(asgiDefinition) }, {}],
  ["node", { "app.js": `require("http").createServer(() => { ${stuckScript} }).listen();` }, {}],
  ["bun", { "server.ts": `export default { fetch() { ${stuckScript} } };` }, {}],
];

type How = [appType: AppType, files: Readonly<Record<string, string>>, options: BareOptions];

const kinds: [string, ...How][] = [
  ["rack", "rack", rack, {}],
  ["rack with threads", "rack", rack, { threads: 3 }],
  ["wsgi", "wsgi", wsgi, {}],
  ["wsgi with threads", "wsgi", wsgi, { threads: 3 }],
  ["asgi", "asgi", asgi, {}],
  ["node", "node", node, {}],
  ["node with a cluster", "node", cluster, {}],
  ["node with a thread", "node", thread, {}],
  ["bun", "bun", bun, {}],
];

const begun: BareInstance[] = [];
afterEach(async () => {
  await Promise.all(begun.splice(0).map((instance) => instance.end()));
});

async function begin(...[appType, files, options]: How): Promise<BareInstance> {
  const directory = temporaryDirectory();
  const instance = new BareInstance(directory);
  begun.push(instance);
  return instance.begin(writeApp(directory, "app", files), appType, options);
}

const request = get({ REQUEST_URI: "/", SESSION_KEEP: "1" });

describe.each(kinds)("%s", (_, ...how) => {
  test("serves on kept sessions, until their clients end them", async () => {
    const instance = await begin(...how);
    using session = instance.connect();
    using other = instance.connect();
    for (const one of [session, other]) {
      await sendAll(one.number, request);
      expect((await nextAnswer(one)).body).toBe("served");
    }
    instance.closeLifeline();
    // It learns of that between any two of them, or later.
    for (let turn = 0; turn < 50; turn += 1) {
      await Bun.sleep(1);
      await sendAll(session.number, request);
      const { body, head } = await nextAnswer(session);
      expect(body).toBe("served");
      expect(head.toLowerCase()).not.toContain("connection: close");
    }
    session.close();
    await sendAll(other.number, request);
    expect((await nextAnswer(other)).body).toBe("served");
    other.close();
    await untilGone(instance.pid);
  });

  test("leaves after the last session, also where that takes a moment", async () => {
    const instance = await begin(...how);
    using session = instance.connect();
    using other = instance.connect();
    await sendAll(session.number, get({ REQUEST_URI: "/slow", PATH_INFO: "/slow" }));
    await sendAll(other.number, request);
    expect((await nextAnswer(other)).body).toBe("served");
    other.close();
    instance.closeLifeline();
    expect(parseAnswer(await readToEnd(session.number)).body).toBe("served");
    // Else it would be ended 10 s after the server.
    await until("it is gone", () => !isRunning(instance.pid), undefined, 8_000);
  });

  test("leaves at once where there is no session", async () => {
    const instance = await begin(...how);
    instance.closeLifeline();
    await untilGone(instance.pid);
  });
});

test("what is stuck goes ten seconds later, with what it has started", async () => {
  const processes = await Promise.all(
    stuckPrograms.map(async (how) => {
      const instance = await begin(...how);
      using session = instance.connect();
      await sendAll(session.number, request);
      await until("its child is there", () =>
        childrenOf(instance.pid).some(({ command }) => command.startsWith("sleep")),
      );
      instance.closeLifeline();
      return [instance.pid, ...childrenOf(instance.pid).map(({ pid }) => pid)];
    }),
  );
  const left = () => processes.flat().filter(isRunning);
  await until("all are gone", () => left().length === 0, left, 25_000);
});
