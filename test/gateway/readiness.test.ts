/**
 * `ready_path` in every kind of application: a process is asked for it before any visitor is sent
 * there, until it answers with success; what never does is refused, and replaces nothing.
 */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { gateways, statusOf, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

interface Kind {
  readonly file: string;
  readonly settings?: string;
  /** Answers the first two requests with `first`, then all with 200; says what it was asked. */
  readonly program: (first: number) => string;
}

const rack: Kind["program"] = (first) => `$asked = []
run ->(env) {
  $asked << env["HTTP_HOST"] + env["PATH_INFO"] + "?" + env["QUERY_STRING"]
  status = $asked.size < 3 ? ${first} : 200
  [status, { "content-type" => "text/plain" }, [$asked.join(" ")]]
}
`;
const wsgi: Kind["program"] = (first) => `asked = []
def application(environ, start_response):
    e = environ
    asked.append(e["HTTP_HOST"] + e["PATH_INFO"] + "?" + e["QUERY_STRING"])
    start_response("${first} Not yet" if len(asked) < 3 else "200 OK", [("X-Kind", "wsgi")])
    return [" ".join(asked).encode()]
`;

const kinds: Readonly<Record<string, Kind>> = {
  rack: { file: "config.ru", program: rack },
  "rack without a preloader": {
    file: "config.ru",
    settings: 'spawn_method = "conservative"\nthreads = 3\n',
    program: rack,
  },
  wsgi: { file: "passenger_wsgi.py", program: wsgi },
  "wsgi with threads": { file: "passenger_wsgi.py", settings: "threads = 2\n", program: wsgi },
  asgi: {
    file: "asgi.py",
    program: (first) => `asked = []
async def app(scope, receive, send):
    if scope["type"] != "http": return
    host = dict(scope["headers"])[b"host"].decode()
    asked.append(host + scope["path"] + "?" + scope["query_string"].decode())
    status = ${first} if len(asked) < 3 else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": " ".join(asked).encode()})
`,
  },
  node: {
    file: "app.js",
    program: (first) => `const asked = [];
require("http").createServer((request, answer) => {
  asked.push(request.headers.host + request.url);
  answer.statusCode = asked.length < 3 ? ${first} : 200;
  answer.end(asked.join(" "));
}).listen(3000);
`,
  },
  bun: {
    file: "server.ts",
    program: (first) => `const asked: string[] = [];
export default { fetch(request: Request) {
  const { host, pathname, search } = new URL(request.url);
  asked.push(host + pathname + search);
  return new Response(asked.join(" "), { status: asked.length < 3 ? ${first} : 200 });
} };
`,
  },
  command: {
    file: "program.ts",
    settings: `command = ["${process.execPath}", "program.ts"]\n`,
    program: (first) => `const asked: string[] = [];
Bun.serve({ port: Number(process.env.PORT), hostname: "127.0.0.1", fetch(request: Request) {
  const { pathname, search } = new URL(request.url);
  asked.push(request.headers.get("host") + pathname + search);
  return new Response(asked.join(" "), { status: asked.length < 3 ? ${first} : 200 });
} });
`,
  },
};

function start(file: string, program: string, settings: string): { gateway: Gateway; app: string } {
  const directory = temporaryDirectory();
  const app = join(directory, "app");
  mkdirSync(app);
  writeFileSync(join(app, file), program);
  const config = join(directory, "pool.toml");
  const lines = ['listen = ["127.0.0.1:0"]', "[[apps]]", 'root = "app"', 'ready_path = "/up?a=b"'];
  writeFileSync(config, [...lines, settings].join("\n"));
  return { gateway: startGateway(["--config", config]), app };
}

test.each(Object.entries(kinds))(
  "%s: a process is ready when its path is answered",
  async (...of) => {
    const [, { file, program, settings = "" }] = of;
    const hosts = 'hosts = ["*.example.com", "shop.example.com"]\n';
    const { gateway } = start(file, program(503), hosts + settings);
    const visit = async () => {
      const answer = await fetch(`${await gateway.address()}/first`, {
        headers: { host: "shop.example.com" },
      });
      return { status: answer.status, text: await answer.text() };
    };
    const asked = "shop.example.com/up?a=b";
    const { status, text } = await visit();
    expect(status).toBe(200);
    expect(text.replaceAll("?", "")).toBe(
      `${asked} ${asked} ${asked} shop.example.com/first`.replaceAll("?", ""),
    );
    // What it was asked for is no visitor's: of these the pool has heard.
    await visit();
    await until("no session is open", async () => {
      const { pool } = await statusOf(gateway);
      const [instance] = pool?.applications[0]?.instances ?? [];
      return instance?.sessions === 0 || instance;
    });
    expect(gateway.log).not.toContain("killed");
    await gateway.end();
  },
);

test("one that never answers so is refused, with what it answered", async () => {
  const never = `export default { fetch: () => new Response("", { status: 500 }) };\n`;
  const limits = 'ready_timeout = "2s"\nshow_errors = true\n';
  const { gateway } = start("server.ts", never, limits);
  const answer = await fetch(await gateway.address());
  expect(answer.status).toBe(500);
  expect(await answer.text()).toContain("it answers 500");
  await gateway.logged("it did not answer /up?a=b with success within 2000 ms: it answers 500");
  await gateway.end();
});

test("answers that only announce the answer are not taken for it", async () => {
  const program = `Bun.listen({ port: Number(process.env.PORT), hostname: "127.0.0.1", socket: {
  data(socket) {
    const early = "HTTP/1.1 103 Early Hints\\r\\nLink: </a>; rel=preload\\r\\n\\r\\n";
    socket.write(early + early);
    socket.end("HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nup");
  },
} });
`;
  const settings = `command = ["${process.execPath}", "program.ts"]\nready_timeout = "2s"\n`;
  const { gateway } = start("program.ts", program, settings);
  const answer = await fetch(await gateway.address());
  expect([answer.status, await answer.text()]).toEqual([200, "up"]);
  await gateway.end();
});

test("an answer without an end is read at leisure", async () => {
  const endless = `def application(environ, start_response):
    start_response("200 OK", [])
    return iter(lambda: b"x" * 100_000, b"")
`;
  const { gateway } = start("passenger_wsgi.py", endless, 'ready_timeout = "3s"\n');
  const address = await gateway.address();
  const { pid = 0 } = gateway.poolServer ?? {};
  const busyTicks = () => {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ") ?? [];
    return Number(stat[11]) + Number(stat[12]);
  };
  const before = busyTicks();
  expect((await fetch(address)).status).toBe(500);
  // In hundredths of a second: of three seconds it would take all that there is.
  expect(busyTicks() - before).toBeLessThan(100);
  await gateway.end();
});

test("one that hangs at the path is refused", async () => {
  const never = `export default { fetch: () => new Promise(() => {}) };\n`;
  const { gateway } = start("server.ts", never, 'ready_timeout = "300ms"\n');
  expect((await fetch(await gateway.address())).status).toBe(500);
  await gateway.logged("it did not answer /up?a=b with success within 300 ms: no whole answer");
  await gateway.end();
});

/** Says its version, and answers the path that is asked with a status. */
const says = (version: string, status: number) =>
  `export default { fetch: ({ url }: Request) => new Response("${version}", {
  status: url.includes("/up") ? ${status} : 200 }) };\n`;

test("a version whose path is not answered with success leaves the old one serving", async () => {
  const limits = 'ready_timeout = "2s"\n';
  const { gateway, app } = start("server.ts", says("old", 204), limits);
  const address = await gateway.address();
  const ask = async () => (await fetch(address)).text();
  expect(await ask()).toBe("old");
  writeFileSync(join(app, "server.ts"), says("new", 404));
  mkdirSync(join(app, "tmp"));
  writeFileSync(join(app, "tmp/restart.txt"), "");
  await until("it is given up", async () => {
    expect(await ask()).toBe("old");
    return gateway.log.includes("restart given up: the old instances serve on");
  });
  await gateway.logged("it answers 404");
  expect(await ask()).toBe("old");
  await gateway.end();
});
