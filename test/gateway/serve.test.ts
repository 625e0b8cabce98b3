/** `serve` from start to end: what it prints, what it starts, and that all of it leaves again. */
import { expect, test } from "bun:test";

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until, within } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import {
  gateways,
  holdRequest,
  statusOf,
  writeApplication,
  type Gateway,
} from "../helpers/gateway.ts";
import { pidOf, stop, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const anyPort = ["--listen", "127.0.0.1:0"];

function serveApp(...more: string[]): Gateway {
  return startGateway([writeApplication(temporaryDirectory()), ...anyPort, ...more]);
}

/** Resolves with the text of the answer, which has to be a good one. */
async function ask(gateway: Gateway, path: string): Promise<string> {
  const answer = await fetch(`${await gateway.address()}${path}`, { keepalive: false });
  expect(answer.status).toBe(200);
  return answer.text();
}

test("one directory is served; one line names the address; SIGTERM ends it with status 0", async () => {
  const gateway = serveApp();
  expect(await gateway.address()).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  expect(await ask(gateway, "/some/path")).toMatch(/^app \/some\/path \d+\n$/);
  expect(gateway.workers).toHaveLength(1);
  await gateway.end();
  expect(await gateway.ended).toBe(0);
  expect(gateway.lines.filter((line) => line.startsWith("listening"))).toHaveLength(1);
});

test("with port 0, all workers share the one port that is picked", async () => {
  const gateway = serveApp("--workers", "3");
  await ask(gateway, "/");
  expect(gateway.workers).toHaveLength(3);
  expect(gateway.addresses).toHaveLength(1);
  await gateway.end();
});

test("a worker that is killed is replaced, and requests go on", async () => {
  const gateway = serveApp("--workers", "2");
  await ask(gateway, "/");
  const [victim] = gateway.workers;
  process.kill(pidOf(victim), "SIGKILL");
  await until("there is another worker", () => {
    const { workers } = gateway;
    return workers.length === 2 && workers.every(({ pid }) => pid !== victim?.pid);
  });
  for (let i = 0; i < 20; i += 1) await ask(gateway, `/after/${i}`);
  await gateway.logged("worker died");
  await gateway.end();
});

test("a worker that gets SIGTERM is replaced first, and then leaves: nobody waits for its requests", async () => {
  const gateway = serveApp("--log-level", "1");
  const slow = await holdRequest(gateway, temporaryDirectory());
  const [old] = gateway.workers;
  process.kill(pidOf(old), "SIGTERM");
  await until("there is another worker", () => gateway.workers.length === 2);
  for (let i = 0; i < 20; i += 1) await ask(gateway, `/meanwhile/${i}`);
  expect(slow.isAnswered).toBe(false);
  expect(await (await slow.letGo()).text()).toMatch(/^app \/slow \d+\n$/);
  await untilGone(pidOf(old));
  await gateway.end();
  expect(gateway.log).not.toContain("worker died");
});

test("the pool server killed: another one serves the same workers; none of their requests hangs", async () => {
  const gateway = serveApp("--workers", "2");
  await ask(gateway, "/before");
  const workers = gateway.workers.map(({ pid }) => pid);
  const victim = pidOf(gateway.poolServer);
  process.kill(victim, "SIGKILL");
  const address = await gateway.address();
  // What is asked meanwhile waits or fails, in any case it is answered.
  const meanwhile = Array.from({ length: 8 }, () => fetch(address, { keepalive: false }));
  for (const answer of await Promise.all(meanwhile)) {
    expect([200, 502, 503]).toContain(answer.status);
    await answer.text();
  }
  await ask(gateway, "/after");
  expect(gateway.poolServer?.pid).not.toBe(victim);
  expect(gateway.workers.map(({ pid }) => pid)).toEqual(workers);
  await gateway.logged("pool server died");
  await gateway.end();
});

test("a pool server that dies again and again is started again and again, with pauses", async () => {
  const gateway = serveApp();
  await gateway.address();
  for (let round = 0; round < 3; round += 1) {
    const victim = await until("there is a pool server", () => gateway.poolServer?.pid);
    process.kill(victim, "SIGKILL");
    await until("it is gone", () => gateway.poolServer?.pid !== victim);
  }
  const pauses = await until("all deaths are logged", () => {
    const found = [...gateway.log.matchAll(/pool server died.* pauseMs=(\d+)/g)];
    return found.length === 3 ? found.map(([, ms]) => Number(ms)) : undefined;
  });
  // What each has lived, which is a little, is not waited for again.
  const [first = NaN, second = NaN, third = NaN] = pauses;
  expect([first, second <= 100, third <= 200]).toEqual([0, true, true]);
  await ask(gateway, "/after");
  await gateway.end();
});

test("its binary replaced: a worker and a pool server that die are started from what runs", async () => {
  const directory = temporaryDirectory();
  const binary = join(directory, "server");
  const wrapper = ["sh", "-c", `cp "$0" '${binary}' && exec '${binary}' "$@"`];
  const gateway = startGateway([writeApplication(directory), ...anyPort], { wrapper });
  await ask(gateway, "/before");
  rmSync(binary);
  writeFileSync(binary, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  const victims = [pidOf(gateway.poolServer), pidOf(gateway.workers[0])];
  for (const victim of victims) process.kill(victim, "SIGKILL");
  await until("both are replaced", () => {
    const pids = [gateway.poolServer?.pid, gateway.workers[0]?.pid];
    return pids.every((pid) => pid !== undefined && !victims.includes(pid));
  });
  expect(await ask(gateway, "/after")).toMatch(/^app \/after /);
  await gateway.end();
});

test("the supervisor killed: workers, pool server and applications leave by themselves", async () => {
  const gateway = serveApp("--workers", "2");
  await ask(gateway, "/");
  gateway.signal("SIGKILL");
  expect(await gateway.ended).toBe("SIGKILL");
  await until(
    "nothing is left",
    () => gateway.processes.length === 0,
    () => gateway.processes,
  );
});

/** A Python application, since Bun raises the limit of its own process. */
const limitProgram = `
import resource

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]).encode()]
`;

test("applications get the limit of descriptors that serve was started with", async () => {
  const app = temporaryDirectory();
  writeFileSync(join(app, "wsgi.py"), limitProgram);
  const gateway = startGateway([app, ...anyPort], {
    wrapper: ["/bin/sh", "-c", 'ulimit -Sn 300; "$0" "$@" & trap "kill $!" TERM; wait; wait'],
  });
  expect(await ask(gateway, "/")).toBe("300");
  await gateway.end();
});

test("SIGTERM waits for the request under way; nothing new is accepted meanwhile", async () => {
  const gateway = serveApp("--log-level", "1");
  const address = await gateway.address();
  const slow = await holdRequest(gateway, temporaryDirectory());
  gateway.signal("SIGTERM");
  await until("nothing is accepted", async () => {
    return fetch(address, { keepalive: false }).then(
      () => false,
      () => true,
    );
  });
  expect(slow.isAnswered).toBe(false);
  const answer = await slow.letGo();
  expect(answer.headers.get("connection")).toBe("close");
  expect(await answer.text()).toMatch(/^app \/slow \d+\n$/);
  expect(await gateway.ended).toBe(0);
});

test("at the end, what waits to be accepted is answered too", async () => {
  const gateway = serveApp();
  await ask(gateway, "/");
  const [worker] = gateway.workers;
  await stop(pidOf(worker));
  const port = Number(new URL(await gateway.address()).port);
  const answers = await Promise.all(Array.from({ length: 30 }, () => sendRequest(port)));
  const descriptors = openDescriptors(gateway.pid).size;
  gateway.signal("SIGTERM");
  await until("the first process has closed its sockets", () => {
    return openDescriptors(gateway.pid).size < descriptors;
  });
  process.kill(pidOf(worker), "SIGCONT");
  for (const { answer } of answers) expect(await answer).toStartWith("HTTP/1.1 200 OK\r\n");
  expect(await gateway.ended).toBe(0);
});

/** Sends a request on a connection that nobody has accepted yet. */
async function sendRequest(port: number): Promise<{ readonly answer: Promise<string> }> {
  const ended = Promise.withResolvers<string>();
  let text = "";
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
      data: (_, chunk) => void (text += chunk.toString()),
      close: () => ended.resolve(text),
    },
  });
  return { answer: ended.promise };
}

test("a second SIGTERM ends it at once, the request with it", async () => {
  const gateway = serveApp("--log-level", "1");
  const slow = fetch(`${await gateway.address()}/slow?ms=30000`);
  const failed = slow.then(
    () => "answered",
    () => "failed",
  );
  await until("the request is under way", () => gateway.log.includes("slow request begins"));
  const [worker] = gateway.workers;
  const descriptors = openDescriptors(gateway.pid).size;
  gateway.signal("SIGTERM");
  // Two that come together are one signal.
  await until("the first is heeded", () => openDescriptors(gateway.pid).size < descriptors);
  gateway.signal("SIGTERM");
  await untilGone(pidOf(worker));
  expect(await gateway.ended).toBe(0);
  expect(await failed).toBe("failed");
  await until(
    "nothing is left",
    () => gateway.processes.length === 0,
    () => gateway.processes,
  );
});

test("a request that takes longer than the drain time is given up", async () => {
  const gateway = serveApp("--log-level", "1", "--drain-time", "200ms");
  const slow = fetch(`${await gateway.address()}/slow?ms=30000`).then(
    () => "answered",
    () => "failed",
  );
  await until("the request is under way", () => gateway.log.includes("slow request begins"));
  gateway.signal("SIGTERM");
  expect(await slow).toBe("failed");
  expect(await gateway.ended).toBe(0);
});

test("a worker that does nothing any more does not hold up the end", async () => {
  const gateway = serveApp("--drain-time", "0s");
  await gateway.address();
  const [worker] = gateway.workers;
  await stop(pidOf(worker));
  await gateway.end();
  expect(await gateway.ended).toBe(0);
  await gateway.logged("worker died");
});

test("ended while it starts: status 0, and nothing is left", async () => {
  for (const delayMs of [0, 5, 10, 15, 20, 25, 30, 40]) {
    const gateway = serveApp("--workers", "2");
    await Bun.sleep(delayMs);
    gateway.signal("SIGTERM");
    // Before its first line a signal has its default effect (PROTOCOL section 1).
    expect([0, "SIGTERM"]).toContain(await gateway.ended);
    await until("nothing is left", () => gateway.processes.length === 0);
  }
});

test("a worker that cannot serve, because of its log: exit 1 with the reason", async () => {
  const gateway = serveApp("--access-log-file", "/nonexistent/access.log");
  expect(await gateway.ended).toBe(1);
  await until("it says why", () => gateway.log.includes("'/nonexistent/access.log': ENOENT"));
  await until("nothing is left", () => gateway.processes.length === 0);
});

test("--check says that a configuration is good, or what is wrong with it, and serves nothing", async () => {
  const good = serveApp("--check", "--workers", "2");
  expect(await good.ended).toBe(0);
  await until("it says so", () => good.lines.length > 0);
  expect(good.lines).toEqual(["the configuration is good: 1 application, 2 workers"]);
  const bad = serveApp("--check", "--workers", "0", "--max", "x");
  expect(await bad.ended).toBe(2);
  await until("it says why", () => bad.log.split("\n").length === 3);
  expect(bad.log.split("\n")).toEqual([
    "ApplicationPoolServerExecutable: --workers: is 0, not a whole number from 1 to 256",
    'ApplicationPoolServerExecutable: --max: is "x", not a whole number from 1 to 100000',
    "",
  ]);
  expect(good.addresses).toEqual([]);
});

test("a FIFO as the configuration, a certificate or a key is refused: nobody waits for its writer", async () => {
  const directory = temporaryDirectory();
  writeApplication(directory);
  const fifo = join(directory, "fifo");
  expect(Bun.spawnSync(["mkfifo", fifo]).success).toBe(true);
  const good = join(import.meta.dir, "serve.test.ts");
  const tls = (certificate: string, key: string) => {
    const file = join(directory, "pool.toml");
    const names = `certificate_file = "${certificate}"\nkey_file = "${key}"\n`;
    writeFileSync(file, `[[apps]]\nroot = "."\n[tls]\nlisten = ["127.0.0.1:0"]\n${names}`);
    return file;
  };
  for (const [config, why] of [
    [fifo, `${fifo}: cannot be read: it is no regular file`],
    [tls(fifo, good), `'${fifo}' cannot be read: it is no regular file`],
  ] as const) {
    const gateway = startGateway(["--check", "--config", config]);
    expect(await within("its answer", gateway.ended)).toBe(2);
    await until("it says why", () => gateway.log.includes(why));
  }
});

test("a directory without an application: served, with a warning that says what was looked for", async () => {
  const directory = temporaryDirectory();
  const check = startGateway(["--check", directory]);
  expect(await within("its answer", check.ended)).toBe(0);
  await until("it warns", () => check.log.includes("application cannot be started"));
  const gateway = startGateway([directory, ...anyPort]);
  const answer = await fetch(await gateway.address());
  expect(answer.status).toBe(500);
  await gateway.logged("application cannot be started", "looked for config.ru");
  await gateway.end();
});

test("with nobody to read its output, it serves all the same", async () => {
  const app = writeApplication(temporaryDirectory());
  // Closed from the start, and a pipe whose reader has left.
  for (const redirection of ['"$0" "$@" >&-', '"$0" "$@" > >(exec true)']) {
    const gateway = startGateway([app, ...anyPort], {
      wrapper: ["/bin/bash", "-c", `exec ${redirection}`],
    });
    const status = await until("it runs", () => statusOf(gateway).catch(() => undefined));
    expect((await fetch(`${status.listening[0]}/x`)).status).toBe(200);
    await gateway.end();
  }
});

test("a storm of signals to reload, and the end in the middle of it", async () => {
  const gateway = serveApp();
  await gateway.address();
  for (let i = 0; i < 200; i += 1) gateway.signal("SIGHUP");
  await ask(gateway, "/");
  for (let i = 0; i < 200; i += 1) gateway.signal("SIGHUP");
  await gateway.end();
  expect(await gateway.ended).toBe(0);
});
