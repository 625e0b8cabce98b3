/** Programs of type `command` that die, hang, are slow or never come: through the binary. */
import { expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

import { until } from "../helpers/condition.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { pidOf, stop } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { commandConfig, isThere, programRoot, programs, see } from "./command-programs.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

function start(lines: string, files = programs): { gateway: Gateway; root: string } {
  const root = programRoot(temporaryDirectory(), files);
  return { gateway: startGateway(["--config", commandConfig(root, lines)]), root };
}

const told = "/usr/bin/python3 told.py";
const inEachWay = [told, `${told} {socket}`];

test.each(inEachWay)("one that is killed or ends is started anew: %s", async (command) => {
  const { gateway } = start(`command = "${command}"`);
  const { pid } = await see(gateway, "/");
  process.kill(pid, "SIGKILL");
  const second = await see(gateway, "/");
  expect(second.pid).not.toBe(pid);
  const ended = await fetch(new URL("/exit", await gateway.address()), { method: "POST" });
  expect(ended.status).toBe(502);
  expect((await see(gateway, "/")).pid).not.toBe(second.pid);
  await gateway.end();
});

/** Ends its answers with the connection: `/reset` with a reset, once there is a file. */
const resets = `
import os, socket, struct, time
server = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])))
while True:
    client, _ = server.accept()
    target = client.recv(65536).split(b" ")[1:2]
    client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\nhello")
    if target == [b"/reset"]:
        while not os.path.exists("seen"): time.sleep(0.01)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
`;

test("an answer to the end of a connection does not look whole where that is a reset", async () => {
  const command = 'command = "/usr/bin/python3 resets.py"';
  const { gateway, root } = start(command, { "resets.py": resets });
  const url = await gateway.address();
  expect(await (await fetch(new URL("/whole", url))).text()).toBe("hello");
  const answer = (await fetch(new URL("/reset", url))).body?.getReader();
  expect(Buffer.from((await answer?.read())?.value ?? []).toString()).toBe("hello");
  writeFileSync(join(root, "seen"), "");
  const how = answer?.read().then(
    () => "whole",
    () => "broken off",
  );
  expect(await how).toBe("broken off");
  await gateway.end();
});

test("restart.txt under load costs no request, and ends the old process", async () => {
  const { gateway, root } = start(`command = "${told} {socket}"`);
  const { pid } = await see(gateway, "/");
  const over = new AbortController();
  const failed: unknown[] = [];
  const load = Array.from({ length: 8 }, async () => {
    while (!over.signal.aborted) {
      try {
        await see(gateway, "/", { method: "POST", body: "x" });
      } catch (error) {
        failed.push(error);
      }
    }
  });
  mkdirSync(join(root, "tmp"));
  for (let i = 0; i < 3; i += 1) {
    const before = (await see(gateway, "/")).pid;
    // Whole, with its time: it is taken away as soon as it is seen.
    writeFileSync(join(root, "tmp/coming"), "");
    utimesSync(join(root, "tmp/coming"), i, i);
    renameSync(join(root, "tmp/coming"), join(root, "tmp/restart.txt"));
    await until("another serves", async () => (await see(gateway, "/")).pid !== before);
  }
  over.abort();
  await Promise.all(load);
  expect(failed).toEqual([]);
  await until("the first one has gone", () => !isThere(pid));
  await gateway.end();
});

/** As gunicorn and uvicorn do: it removes its socket itself when it is told to leave. */
const removes = `
import os, signal, sys, threading, told
def leave(*_):
    os.unlink(sys.argv[1])
    print("removed " + sys.argv[1], flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
threading.Thread(target=told.serve, daemon=True).start()
while True: signal.pause()
`;

test("one that removes its socket at its end finds it; its directory goes with it", async () => {
  const files = { ...programs, "removes.py": removes };
  const { gateway, root } = start('command = "/usr/bin/python3 removes.py {socket}"', files);
  const { pid } = await see(gateway, "/");
  const [, socket = ""] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(1);
  expect(existsSync(socket)).toBe(true);
  mkdirSync(join(root, "tmp"));
  writeFileSync(join(root, "tmp/restart.txt"), "");
  await until("another serves", async () => (await see(gateway, "/")).pid !== pid);
  await until("it has removed it", () => gateway.log.includes(`removed ${socket}`));
  await until("its directory has gone", () => !existsSync(dirname(socket)));
  await gateway.end();
});

test("one that hangs is ended when the time of a request is over and nothing is answered", async () => {
  const { gateway } = start(`command = "${told}"\nrequest_timeout = "1s"`);
  const { pid } = await see(gateway, "/");
  await stop(pid);
  const late = await fetch(await gateway.address());
  expect(late.status).toBe(504);
  expect((await see(gateway, "/")).pid).not.toBe(pid);
  await until("it has gone", () => !isThere(pid));
  await gateway.end();
}, 60_000);

test("a slow start is waited for, and a path that is not ready yet", async () => {
  const slow = `import time\ntime.sleep(0.5)\nimport told, threading\nbegan = time.time()
Handler = told.Handler
class Slow(Handler):
    def do_GET(self):
        if self.path != "/ready" or time.time() - began > 1: return Handler.do_GET(self)
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()
told.Handler = Slow
told.serve()
`;
  const files = { ...programs, "slow.py": slow };
  const { gateway } = start('command = "/usr/bin/python3 slow.py"\nready_path = "/ready"', files);
  expect((await see(gateway, "/first")).path).toBe("/first");
  await gateway.end();
});

test("one that listens, ends that, and listens again is waited for where a path is asked", async () => {
  const again = `import os, socket, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(os.environ["PORT"])))
s.listen()
time.sleep(1.2) # Who listens is looked up anew after a second.
s.close()
time.sleep(0.3)
import told
told.serve()
`;
  const files = { ...programs, "again.py": again };
  const { gateway } = start('command = "/usr/bin/python3 again.py"\nready_path = "/"', files);
  expect((await see(gateway, "/first")).path).toBe("/first");
  await gateway.end();
});

/** Little to load: it listens long before the time of its start is over. */
const elsewhere = `import _socket
s = _socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
while True: s._accept()
`;

const failures: readonly (readonly [string, string, string])[] = [
  ["ends at once", "sh -c 'echo no luck; exit 7'", "it exited with status 7 and did not listen on"],
  ["is not there", "./nothing", "cannot run"],
  ["goes into the background", "sh -c 'sleep 100 & exit 0'", "it has to stay in front"],
  ["never listens", "sleep 100", "within 1500 ms: it does not listen; it listens on no port"],
  [
    "listens elsewhere",
    "/usr/bin/python3 -IS elsewhere.py",
    "it does not listen; it listens on 127.0.0.1:",
  ],
];

test.each(failures)("one that %s is refused with a page that says so", async (_, command, why) => {
  const lines = `command = "${command}"\nspawn_timeout = "1500ms"\nshow_errors = true`;
  const { gateway } = start(lines, { ...programs, "elsewhere.py": elsewhere });
  const response = await fetch(await gateway.address());
  expect(response.status).toBe(500);
  const page = (await response.text()).replaceAll("&#x27;", "'");
  const shown = why === "cannot run" ? "./nothing" : why;
  expect(page).toContain(shown);
  expect(page).toContain(command.split(" ")[0] ?? "");
  const line = await until("it is logged", () =>
    gateway.log.split("\n").find((text) => text.includes("spawn failed")),
  );
  expect(line).toContain(command.split(" ")[0] ?? "");
  if (command.includes("no luck")) expect(line).toContain("'no luck'");
  await gateway.end();
});

test("a port that somebody else has taken is not believed", async () => {
  const waits = `import os, time
open("port", "w").write(os.environ["PORT"])
time.sleep(60)
`;
  const { gateway, root } = start(
    'command = "/usr/bin/python3 waits.py"\nshow_errors = true\nspawn_timeout = "20s"',
    { "waits.py": waits },
  );
  const asked = fetch(await gateway.address());
  const port = await until("the port is known", () => textOf(join(root, "port")));
  using thief = Bun.serve({
    hostname: "127.0.0.1",
    port: Number(port),
    fetch: () => Response.json(1),
  });
  expect(thief.port).toBe(Number(port));
  const response = await asked;
  expect(response.status).toBe(500);
  expect(await response.text()).toContain(`on 127.0.0.1:${port} listens another program, of `);
  await gateway.end();
});

test("a port that it gives up is not believed to be its own for long", async () => {
  const gives = `import told, threading, time
Handler = told.Handler
class Gives(Handler):
    def do_GET(self):
        Handler.do_GET(self)
        if self.path == "/give": self.server.socket.close()
told.Handler = Gives
threading.Thread(target=told.serve, daemon=True).start()
time.sleep(1000)
`;
  const { gateway } = start('command = "/usr/bin/python3 gives.py"', {
    ...programs,
    "gives.py": gives,
  });
  const { env, pid } = await see(gateway, "/");
  const port = Number(env["PORT"]);
  await see(gateway, "/give");
  using thief = await until("the thief listens", () => tryToServe(port));
  expect(thief.port).toBe(port);
  await Bun.sleep(1_200);
  // Its port leads nowhere: another instance is started.
  expect((await see(gateway, "/")).pid).not.toBe(pid);
  await gateway.end();
});

function textOf(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "latin1") || undefined : undefined;
}

function tryToServe(port: number): Bun.Server<undefined> | undefined {
  try {
    return Bun.serve({ hostname: "127.0.0.1", port, fetch: () => Response.json("stolen") });
  } catch {
    return undefined;
  }
}

test("nothing of it outlives a pool server that is killed", async () => {
  const { gateway } = start(`command = "${told}"`);
  const { pid } = await see(gateway, "/");
  process.kill(pidOf(gateway.poolServer), "SIGKILL");
  await until("it has gone", () => !isThere(pid));
  await until("another serves", async () => {
    const response = await fetch(await gateway.address());
    return response.status === 200;
  });
  await gateway.end();
});
