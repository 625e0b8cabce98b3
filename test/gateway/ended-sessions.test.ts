/**
 * A session that ends with an answer is nobody's next one: a request that cannot be repeated would
 * be lost on it, whoever it is from.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { RawVisitor } from "./proxied.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const node = `const server = require("node:http").createServer((request, answer) => {
  request.on("data", () => {}).on("end", () => answer.end(request.method));
});
server.on("upgrade", (_request, socket) => {
  socket.end("HTTP/1.1 403 Forbidden\\r\\nContent-Length: 2\\r\\n\\r\\nno");
});
server.listen(3000);
`;
const bun = "export default { fetch: (request: Request) => new Response(request.method) };\n";
const asgi = `async def app(scope, receive, send):
    if scope["type"] != "http": return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["method"].encode()})
`;

const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
const rounds = 20;

test.each([
  ["bun, a method that it does not know", "server.ts", bun, "VIEW /", "", 501],
  ["bun, a target that is no path", "server.ts", bun, "OPTIONS *", "", 400],
  ["node, a method that it does not know", "app.js", node, "VIEW /", "", 501],
  ["node, an upgrade that the program refuses", "app.js", node, "GET /", upgrade, 403],
  ["asgi, an upgrade that is none", "asgi.py", asgi, "GET /", upgrade, 426],
])("%s", async (_what, file, program, line, headers, status) => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  writeFileSync(join(directory, "app", file), program);
  const config = join(directory, "pool.toml");
  const lines = ['listen = ["127.0.0.1:0"]', "workers = 1", "[[apps]]", 'root = "app"'];
  writeFileSync(config, lines.join("\n"));
  const gateway = startGateway(["--config", config]);
  const visitor = await RawVisitor.connect(Number(new URL(await gateway.address()).port));
  for (let round = 1; round <= rounds; round += 1) {
    visitor.send(`${line} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`);
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    await until(
      "both are answered",
      () => visitor.received.match(/HTTP\/1.1 /g)?.length === 2 * round,
      () => visitor.received,
    );
  }
  const statuses = visitor.received.match(/(?<=HTTP\/1.1 )\d+/g)?.map(Number);
  expect(statuses).toEqual(Array.from({ length: rounds }, () => [status, 200]).flat());
  visitor.leave();
  await gateway.end();
});

/** Programs that read of a body as much as the path says, and answer with the digest of that. */
const rackReader = `require "digest/sha1"
run lambda { |env|
  count = { "/part" => 1000, "/whole" => nil }.fetch(env["PATH_INFO"], 0)
  [200, {}, [Digest::SHA1.hexdigest(env["rack.input"].read(count) || "")]]
}
`;
const wsgiReader = `from hashlib import sha1
def application(environ, start_response):
    count = {"/part": 1000, "/whole": -1}.get(environ["PATH_INFO"], 0)
    start_response("200 OK", [])
    return [sha1(environ["wsgi.input"].read(count)).hexdigest().encode()]
`;
const asgiReader = `from hashlib import sha1
async def app(scope, receive, send):
    body, more = b"", scope["path"] != "/none"
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"] and (scope["path"] == "/whole" or len(body) < 1000)
    body = body[:1000] if scope["path"] == "/part" else body
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": sha1(body).hexdigest().encode()})
`;
const nodeReader = `const { createHash } = require("node:crypto");
require("node:http").createServer(async (request, answer) => {
  let body = Buffer.alloc(0);
  if (request.url !== "/none") {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      body = Buffer.concat([body, chunk]);
      if (request.url === "/part" && body.length >= 1000) break;
    }
  }
  if (request.url === "/part") body = body.subarray(0, 1000);
  answer.end(createHash("sha1").update(body).digest("hex"));
}).listen(3000);
`;
const bunReader = `const fetch = async (request: Request) => {
  const { pathname } = new URL(request.url);
  let body = new Uint8Array(0);
  if (pathname === "/whole") body = await request.bytes();
  if (pathname === "/part") {
    for await (const chunk of request.body!) {
      body = Buffer.concat([body, chunk]).subarray(0, 1000);
      if (body.length >= 1000) break;
    }
  }
  return new Response(new Bun.CryptoHasher("sha1").update(body).digest("hex"));
};
`;

const read = { "/none": 0, "/part": 1000, "/whole": Infinity };
/** At once, in two pieces where the kernel likes, in many, and in more than is ever read away. */
const sizesKiB = [40, 62, 600, 1500];

test.each([
  ["rack", "config.ru", rackReader, []],
  ["rack, threads", "config.ru", rackReader, ["--threads", "3"]],
  ["wsgi", "wsgi.py", wsgiReader, []],
  ["wsgi, threads", "wsgi.py", wsgiReader, ["--threads", "3"]],
  ["asgi", "asgi.py", asgiReader, []],
  ["node", "app.js", nodeReader, []],
  ["bun, called", "server.ts", `${bunReader}export default { fetch };\n`, []],
  ["bun, served", "server.ts", `${bunReader}Bun.serve({ fetch, routes: { "/a": fetch } });\n`, []],
])("%s, bodies that nobody reads, or in part, or whole", async (_what, file, program, more) => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  writeFileSync(join(directory, "app", file), program);
  const own = ["--listen", "127.0.0.1:0", "--max", "2", ...more];
  const gateway = startGateway([join(directory, "app"), ...own]);
  const address = await gateway.address();
  const wrong: string[] = [];
  const ask = async (path: keyof typeof read, body: Buffer): Promise<void> => {
    const digest = new Bun.CryptoHasher("sha1").update(body.subarray(0, read[path])).digest("hex");
    for (let round = 0; round < 2 * rounds; round += 1) {
      const answer = await fetch(`${address}${path}`, { method: "POST", body });
      const text = await answer.text();
      if (text !== digest) wrong.push(`${path} ${body.length}: ${answer.status} ${text}`);
      if (answer.headers.has("connection")) wrong.push(`${path}: its Connection has passed`);
    }
  };
  const bodies = sizesKiB.map((kib) => Buffer.alloc(kib * 1024, "body "));
  const paths = ["/none", "/part", "/whole"] as const;
  const all = paths.flatMap((path) =>
    [Buffer.from("hi"), ...bodies].map((body) => ask(path, body)),
  );
  await Promise.all(all);
  expect(wrong).toEqual([]);
  await gateway.end();
});
