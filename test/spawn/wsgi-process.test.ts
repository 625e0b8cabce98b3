/** Processes of wsgi applications: what they find when they start, and how they end. */
import { expect, test } from "bun:test";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

import { OwnedFd } from "../../src/native/owned-fd.ts";
import { listenUnix, pathAddress, socketPair } from "../../src/native/socket.ts";
import type { Instance, Spawner } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { untilGone } from "../helpers/processes.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { freshSpawners } from "./spawner-scene.ts";
import { connected, exchange, get, parseAnswer, writeApp } from "./support.ts";
import { application, debianPath, wsgiRequest } from "./wsgi-programs.ts";

const temporaryDirectory = temporaryDirectories();
const freshSpawner = freshSpawners(temporaryDirectory);
// After the closing of the spawners: hooks run in the order they are given in.
countDescriptors();

interface Scene {
  readonly spawner: Spawner;
  readonly instance: Instance;
  readonly lines: string[];
  readonly root: string;
}

async function scene(
  files: Readonly<Record<string, string>>,
  changed: Parameters<typeof wsgiRequest>[1] = {},
): Promise<Scene> {
  const { spawner, base, lines } = freshSpawner();
  const root = writeApp(base, "app", files);
  return { instance: await spawner.spawn(wsgiRequest(root, changed)), lines, root, spawner };
}

async function bodyOf(instance: Instance, path = "/"): Promise<string> {
  const [pathInfo = "", query = ""] = path.split("?");
  const answer = await exchange(instance, get({ PATH_INFO: pathInfo, QUERY_STRING: query }));
  return parseAnswer(answer).body;
}

/** Says what a Python expression is worth, evaluated at load and again for each request. */
function teller(expression: string): string {
  return `
import os, sys
import beside
at_load = repr(${expression})
def application(environ, start):
    start("200 OK", [])
    return [at_load.encode(), b"\\n", repr(${expression}).encode()]
`;
}

async function told(expression: string, changed: Parameters<typeof wsgiRequest>[1] = {}) {
  const files = { "wsgi.py": teller(expression), "beside.py": "name = __name__" };
  const { instance, root } = await scene(files, changed);
  const [atLoad = "", atRequest = ""] = (await bodyOf(instance)).split("\n");
  return { atLoad, atRequest, root };
}

test("loads the startup file under its own name, from the root, with the root on the path", async () => {
  const facts =
    "[__name__, sys.modules['wsgi'].__file__, sys.path[0], sys.argv, os.getcwd(), __spec__.name]";
  const { atLoad, root } = await told(facts);
  expect(atLoad).toBe(`['wsgi', '${root}/wsgi.py', '${root}', ['wsgi.py'], '${root}', 'wsgi']`);
});

test("has nothing of its own on the path, nor a module that could hide one of theirs", async () => {
  const facts =
    "[p for p in sys.path if 'application-pool' in p] + " +
    "[m for m in ('session', 'answer', 'body', 'instance', 'startup') if m in sys.modules]";
  const { atLoad, atRequest } = await told(facts);
  expect([atLoad, atRequest]).toEqual(["[]", "[]"]);
});

test.each(["conservative", "smart"] as const)(
  "starts (%s) although the application's modules have names of the library's",
  async (spawnMethod) => {
    const names = ["array.py", "fcntl.py", "gc.py", "select.py", "signal.py"];
    const bad = Object.fromEntries(names.map((name) => [name, "raise ValueError(__name__)"]));
    const { instance } = await scene({ ...bad, "wsgi.py": sayer("ok") }, { spawnMethod });
    expect(await bodyOf(instance)).toBe("ok");
  },
);

test("writes no compiled file of the startup file, and does not forbid it others", async () => {
  const { root } = await told("sys.dont_write_bytecode");
  expect(readdirSync(`${root}/__pycache__`).map((name) => name.split(".")[0])).toEqual(["beside"]);
});

function sayer(word: string): string {
  return `def application(environ, start):\n  start("200 OK", [])\n  return [b"${word}"]\n`;
}

test("runs a startup file that was changed within the second, to the same length", async () => {
  const { instance, root, spawner } = await scene({ "wsgi.py": sayer("old") });
  expect(await bodyOf(instance)).toBe("old");
  writeFileSync(`${root}/wsgi.py`, sayer("new"));
  const again = await spawner.spawn(wsgiRequest(root));
  expect(again && (await bodyOf(again))).toBe("new");
});

test("tells the environment by all its names", async () => {
  const names = "[os.environ[n] for n in ('WSGI_ENV', 'APP_ENV', 'RACK_ENV')]";
  const { atLoad } = await told(names);
  expect(atLoad).toBe("['production', 'production', 'production']");
});

test("writes lines when they are printed, on stdout and stderr", async () => {
  const source = `
import sys, time
print("at load")
def application(environ, start):
    print("on stdout")
    print("on stderr", file=sys.stderr)
    print("on wsgi.errors", file=environ["wsgi.errors"])
    time.sleep(0.2)
    start("200 OK", [])
    return []
`;
  const { instance, lines } = await scene({ "wsgi.py": source });
  using session = connected(instance);
  await sendAll(session.number, get());
  const all = ["at load", "on stdout", "on stderr", "on wsgi.errors"];
  await until(
    "all lines are there",
    () => all.every((line) => lines.includes(line)),
    () => lines,
  );
});

test("inherits exactly 0 to 4", async () => {
  const open = "[n for n in range(256) if os.path.exists(f'/proc/self/fd/{n}')]";
  expect((await told(open)).atLoad).toBe("[0, 1, 2, 3, 4]");
});

test("gives a process that is forked while it loads nothing of its own", async () => {
  const source = `
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
def forked_at_load(environ, start):
    return text(start, child)
paths["forked_at_load"] = forked_at_load
`;
  const { instance } = await scene({ "wsgi.py": application + source });
  const child = Number(await bodyOf(instance, "/forked_at_load"));
  const held = () => [...openDescriptors(child).keys()].toSorted((a, b) => a - b).join();
  await until("it holds nothing of the instance's", () => held() === "0,1,2", held);
  process.kill(child, "SIGKILL");
});

test.each(["passenger_wsgi.py", "wsgi.py"])("starts %s", async (file) => {
  const source = "def application(environ, start):\n  start('200 OK', [])\n  return [b'ok']";
  const { instance } = await scene({ [file]: source }, { appType: "auto" });
  expect(await bodyOf(instance)).toBe("ok");
});

function makeVirtualenv(at: string): void {
  const command = ["/usr/bin/python3", "-m", "venv", "--without-pip", at];
  const { exitCode, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`making a virtual environment: ${stderr.toString()}`);
}

test("runs in the virtual environment that PATH leads to", async () => {
  const virtualenv = `${temporaryDirectory()}/env`;
  makeVirtualenv(virtualenv);
  const variables = { PATH: `${virtualenv}/bin:${debianPath}` };
  expect((await told("sys.prefix", { env: variables })).atLoad).toBe(`'${virtualenv}'`);
});

test.each([".venv", "venv"])("runs in the virtual environment %s of the root", async (name) => {
  const files = { "wsgi.py": teller("sys.prefix"), "beside.py": "" };
  const { instance, root, spawner } = await scene(files);
  expect(await bodyOf(instance)).toStartWith("'/usr'");
  makeVirtualenv(`${root}/${name}`);
  const again = await spawner.spawn(wsgiRequest(root));
  expect(again && (await bodyOf(again))).toStartWith(`'${root}/${name}'`);
});

const withFarewell = `
import atexit
atexit.register(print, "farewell")
${application}`;

test("leaves when it is released, running what the application has for its end", async () => {
  const { instance, lines } = await scene({ "wsgi.py": withFarewell });
  instance.release();
  await untilGone(instance.pid);
  await until("it has said so", () => lines.includes("farewell"));
});

test("serves the session at hand before it leaves", async () => {
  const { instance, lines } = await scene({ "wsgi.py": withFarewell });
  using session = connected(instance);
  await sendAll(session.number, get({ PATH_INFO: "/wait" }));
  await readExactly(session.number, 1_000);
  process.kill(instance.pid, "SIGUSR1");
  instance.release();
  expect((await readToEnd(session.number)).length).toBeGreaterThan(9_990_000);
  await untilGone(instance.pid);
  await until("it has said so", () => lines.includes("farewell"));
});

test("ends kept sessions when it leaves by a signal", async () => {
  const { instance } = await scene({ "wsgi.py": application });
  using session = connected(instance);
  await sendAll(session.number, get({ PATH_INFO: "/empty", SESSION_KEEP: "1" }));
  await readExactly(session.number, 10);
  process.kill(instance.pid, "SIGUSR1");
  expect(await readToEnd(session.number)).toEndWith("\r\n\r\n");
});

const wakings = {
  alone: "",
  "by a signal that another thread takes": `
import signal, threading
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
`,
  "although the application has had signals for itself": `
import signal
def application(environ, start, inner=application):
    signal.set_wakeup_fd(-1)
    return inner(environ, start)
`,
};

test.each(Object.entries(wakings))("leaves at SIGUSR1 while it waits, %s", async (_, more) => {
  const { instance, lines } = await scene({ "wsgi.py": withFarewell + more });
  expect(await exchange(instance, get({ PATH_INFO: "/empty" }))).toStartWith("Status: 200 OK");
  process.kill(instance.pid, "SIGUSR1");
  await untilGone(instance.pid);
  await until("it has said so", () => lines.includes("farewell"));
});

test.each(["SIGTERM", "SIGINT"])("is ended by %s at once, without a trace", async (signal) => {
  const { instance, lines } = await scene({ "wsgi.py": withFarewell });
  using session = connected(instance);
  await sendAll(session.number, get({ PATH_INFO: "/sleep", QUERY_STRING: "60" }));
  process.kill(instance.pid, signal);
  await untilGone(instance.pid);
  expect(lines).toEqual([]);
});

test("answers 500 and leaves when the application calls sys.exit", async () => {
  const { instance, lines } = await scene({ "wsgi.py": withFarewell });
  const answer = await exchange(instance, get({ PATH_INFO: "/leave" }));
  expect(answer).toStartWith("Status: 500");
  await untilGone(instance.pid);
  expect(lines).toContain("farewell");
  expect(lines).toContain("SystemExit: 5");
});

test("stays what it is when the application sets a timeout for its sockets", async () => {
  const source = `import socket\nsocket.setdefaulttimeout(0.01)\n${application}`;
  const { instance } = await scene({ "wsgi.py": source });
  using session = connected(instance);
  const head = get({ PATH_INFO: "/echo", REQUEST_METHOD: "POST", CONTENT_LENGTH: "2" });
  await sendAll(session.number, head);
  await Bun.sleep(50);
  await sendAll(session.number, Buffer.from("hi"));
  expect(parseAnswer(await readToEnd(session.number)).body).toBe("hi");
});

test("goes on when it runs out of descriptors, and gives up kept sessions for new ones", async () => {
  const limit = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))\n";
  const { instance } = await scene({ "wsgi.py": limit + application });
  const sessions = [connected(instance), connected(instance), connected(instance)];
  for (const session of sessions) {
    await sendAll(session.number, get({ PATH_INFO: "/empty", SESSION_KEEP: "1" }));
    await readExactly(session.number, 10);
  }
  expect(await exchange(instance, get({ PATH_INFO: "/empty" }))).toStartWith("Status: 200 OK");
  for (const session of sessions) session.close();
});

test("is ended by its watch when it is stuck after the server has gone", async () => {
  const directory = temporaryDirectory();
  const loader = `${directory}/loader`;
  cpSync(`${import.meta.dir}/../../src/spawn/builtin/loaders`, loader, { recursive: true });
  const file = `${loader}/python/lifeline.py`;
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace("STUCK_SECONDS = 10", "STUCK_SECONDS = 0.2"));
  const root = writeApp(directory, "app", { "wsgi.py": application });
  using listener: OwnedFd = listenUnix(pathAddress(`${directory}/socket`), 5);
  const [ours, theirs] = socketPair();
  using lifeline = ours;
  const program = ["/usr/bin/python3", `${loader}/python/loader.py`];
  const child = Bun.spawn([...program, "instance", "wsgi.py", "wsgi", "concurrency=1"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit", listener.number, theirs.number],
  });
  theirs.close();
  expect(await readExactly(lifeline.number, 15)).toEndWith("ready\x001\0done\0");
  const before = openDescriptors(child.pid).size;
  const client = await Bun.connect({
    unix: `${directory}/socket`,
    socket: { data: () => {}, error: () => {} },
  });
  client.write(get({ PATH_INFO: "/sleep", QUERY_STRING: "60" }));
  // Only once it has taken the session is it stuck.
  await until("the session is accepted", () => openDescriptors(child.pid).size > before);
  lifeline.close();
  await child.exited;
  client.terminate();
});
