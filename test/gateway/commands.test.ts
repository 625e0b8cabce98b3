/** Programs of type `command` through the compiled binary: how they are reached, what they see. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { writeFileSync } from "node:fs";

import { findUser } from "../../src/native/process.ts";
import { until } from "../helpers/condition.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { commandConfig, isThere, programRoot, see } from "./command-programs.ts";
import { exchange } from "./raw-exchange.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

function start(lines: string, top = ""): { gateway: Gateway; root: string } {
  const root = programRoot(temporaryDirectory());
  return { gateway: startGateway(["--config", commandConfig(root, lines, top)]), root };
}

const told = "/usr/bin/python3 told.py";
const ways = {
  port: `command = "${told}"`,
  socket: `command = ["/usr/bin/python3", "told.py", "{socket}"]`,
  inherit: `command = "${told}"\nlisten = "inherit"`,
};

test.each(Object.entries(ways))("a program is reached by %s", async (way, lines) => {
  const { gateway, root } = start(lines);
  const first = await see(gateway, "/a%20b?c=d", { headers: { "X-A": "b" } });
  expect(first.path).toBe("/a%20b?c=d");
  expect(first.cwd).toBe(root);
  const expected = {
    port: { PORT: first.env["PORT"] ?? "", HOST: "127.0.0.1" },
    socket: {},
    inherit: { LISTEN_FDS: "1", LISTEN_FDNAMES: "http" },
  };
  expect(first.env).toEqual(expected[way as keyof typeof ways]);
  if (process.getuid?.() === 0) expect(first.uid).toBe(findUser("nobody")?.uid ?? -1);
  const body = Buffer.alloc(3_000_000, "x");
  const second = await see(gateway, "/", { method: "POST", body });
  expect(second).toMatchObject({ pid: first.pid, method: "POST", body: body.length });
  await gateway.end();
  expect(isThere(first.pid)).toBe(false);
});

test("a program is told by HTTP what others are told by variables", async () => {
  const { gateway } = start(`command = "${told}"\nprefix = "/shop"`);
  const url = new URL(await gateway.address());
  const sent =
    "GET /shop/x HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 6.6.6.6\r\n" +
    "Forwarded: for=6\r\nX-Two: 1\r\nx-two: 2\r\nX_Under: 1\r\nProxy: evil\r\n" +
    "TE: trailers\r\nX-Hop: 1\r\n" +
    "X-Forwarded-Prefix: /evil\r\nConnection: close, X-Hop\r\n\r\n";
  const { answered } = await exchange(Number(url.port), [sent], undefined, 25_000);
  const seen = JSON.parse(answered.slice(answered.indexOf("\r\n\r\n") + 4)) as {
    path: string;
    headers: [string, string][];
  };
  expect(seen.path).toBe("/shop/x");
  const { "x-request-id": id, ...headers } = Object.fromEntries(seen.headers);
  expect(id).toMatch(/^[0-9a-f-]{36}$/);
  expect(headers).toEqual({
    host: "shop.example",
    "x-two": "1, 2",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "shop.example",
    "x-forwarded-prefix": "/shop",
  });
  await gateway.end();
});

/** The head's lines that matter and the body, of one request on a connection of its own. */
async function ask(gateway: Gateway, request: string): Promise<string> {
  const { port } = new URL(await gateway.address());
  const { answered } = await exchange(Number(port), [request], undefined, 25_000);
  return answered.replace(/^(?:Date|X-Request-Id|Keep-Alive): .*\r\n/gm, "");
}

test("answers arrive as the program has framed them", async () => {
  const { gateway } = start('command = "node app.js"');
  const get = (path: string, method = "GET") =>
    ask(gateway, `${method} ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  expect(await get("/chunks")).toEndWith(
    "\r\n\r\n4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n",
  );
  expect(await get("/close")).toContain("closed");
  expect(await get("/204")).toBe("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
  expect(await get("/304")).toBe("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n");
  expect(await get("/x", "HEAD")).toStartWith("HTTP/1.1 200 OK\r\n");
  expect(await get("/early")).toStartWith("HTTP/1.1 103 Early Hints\r\n");
  const expecting =
    "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n" +
    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n";
  expect(await ask(gateway, expecting)).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\n[^]*\/up 3 /);
  await gateway.end();
});

test("connections to a program are kept, and are not where it says so", async () => {
  const { gateway } = start('command = "node app.js {socket}"');
  const text = async (path: string) => (await fetch(new URL(path, await gateway.address()))).text();
  const connectionOf = async () => (await text("/x")).split(" ")[2];
  const [first, second] = [await connectionOf(), await connectionOf()];
  expect(second).toBe(first);
  await text("/close");
  expect(await connectionOf()).not.toBe(first);
  await gateway.end();
});

/** Writes a head, and says in the body whether that was acknowledged before the kernel had to. */
const piecewise = `
import os, socket, struct, time
from http.server import BaseHTTPRequestHandler, HTTPServer
DELAYED = 0.03  # Linux waits for 0.04.
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        begun = time.monotonic()
        while self.is_unacknowledged() and time.monotonic() - begun < DELAYED:
            pass
        self.wfile.write(b"late." if self.is_unacknowledged() else b"early")
    def is_unacknowledged(self):
        facts = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return struct.unpack_from("I", facts, 24)[0] > 0
HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
`;

test("the first piece of an answer is acknowledged at once: a program may wait for it", async () => {
  const root = programRoot(temporaryDirectory(), { "piecewise.py": piecewise });
  const command = 'command = "/usr/bin/python3 piecewise.py"';
  const gateway = startGateway(["--config", commandConfig(root, command)]);
  const address = await gateway.address();
  const said: string[] = [];
  for (let i = 0; i < 40; i += 1) said.push(await (await fetch(address)).text());
  // The first on a connection is, in any case: the kernel has not seen yet that we answer.
  expect(said.filter((word) => word === "early").length).toBeGreaterThan(20);
  await gateway.end();
});

test("a program that speaks HTTP/1.0 is answered from, one connection each", async () => {
  const { gateway, root } = start(
    'command = "/usr/bin/python3 -m http.server --bind {host} {port}"\nstatic_files = false',
  );
  writeFileSync(join(root, "hello.txt"), "hello");
  for (let i = 0; i < 20; i += 1) {
    const response = await fetch(new URL("/hello.txt", await gateway.address()));
    expect(await response.text()).toBe("hello");
  }
  expect((await fetch(new URL("/none", await gateway.address()))).status).toBe(404);
  await gateway.end();
});

/** One connection after the other; a write to one that is closed ends it (SIGPIPE). */
const simple = `use strict; use IO::Socket; $| = 1;
my $s = @ARGV ? IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 10)
  : IO::Socket->new_from_fd(3, "r+");
while (my $c = $s->accept) {
  my $line = <$c>;
  while (<$c>) { last if /^\\r\\n$/ }
  print $c "HTTP/1.0 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\n$$ $line";
  close $c;
}
`;

test.each(["{socket}", ""])(
  "a program that knows one connection at a time meets none that is not a request: %s",
  async (word) => {
    const root = programRoot(temporaryDirectory(), { "simple.pl": simple });
    const listen = word === "" ? 'listen = "inherit"' : "";
    const limits = "concurrency = 1\nmax_instances = 1";
    const lines = `command = "perl simple.pl ${word}"\n${limits}\n${listen}`;
    const gateway = startGateway(["--config", commandConfig(root, lines)]);
    const pids = new Set<string>();
    for (let i = 0; i < 10; i += 1) {
      const [pid = "", ...line] = (await (await fetch(await gateway.address())).text()).split(" ");
      expect(line.join(" ")).toBe("GET / HTTP/1.1\r\n");
      pids.add(pid);
    }
    expect(pids.size).toBe(1);
    await gateway.end();
  },
);

test("a protocol that a program changes to, and a stream of events", async () => {
  const { gateway } = start('command = "node app.js"');
  const address = await gateway.address();
  const { hostname, port } = new URL(address);
  let received = "";
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: { data: (_socket, bytes) => void (received += String(bytes)) },
  });
  socket.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n");
  await until("the switch", () => received.includes("\r\nUpgrade: shout\r\n"));
  socket.write("hello");
  await until("the echo", () => received.endsWith("HELLO"));
  socket.end();
  const events = new AbortController();
  const stream = await fetch(`${address}/events`, { signal: events.signal });
  const { value } = await (stream.body?.getReader().read() ?? Promise.reject(new Error("none")));
  expect(String.fromCharCode(...(value ?? []))).toBe("data: 1\n\n");
  events.abort();
  await until("the program hears of it", () => gateway.log.includes("events closed"));
  await gateway.end();
});

test("a reload that makes a program of an application, and the other way round, costs nothing", async () => {
  const root = programRoot(temporaryDirectory());
  const file = commandConfig(root, 'type = "node"');
  const gateway = startGateway(["--config", file, "--log-level", "1"]);
  const address = await gateway.address();
  const over = new AbortController();
  const failed: string[] = [];
  const load = Array.from({ length: 4 }, async () => {
    while (!over.signal.aborted) {
      const response = await fetch(`${address}/x`, { method: "POST", body: "12345" });
      const text = await response.text();
      if (!text.startsWith("/x 5 ")) failed.push(`${response.status} ${text}`);
    }
  });
  const kinds = ['command = "node app.js {socket}"', 'type = "node"'];
  for (const [index, lines] of kinds.entries()) {
    commandConfig(root, lines);
    gateway.signal("SIGHUP");
    await until(
      "it is reloaded",
      () => gateway.log.split("configuration reloaded").length === index + 2,
      () => gateway.log,
    );
    await Bun.sleep(300); // for the load
  }
  over.abort();
  await Promise.all(load);
  expect(failed).toEqual([]);
  await gateway.end();
});
