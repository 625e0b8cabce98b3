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

test.each([
  ["rack", "config.ru", "run lambda { |env| [200, {}, [env['REQUEST_METHOD']]] }\n"],
  ["wsgi", "wsgi.py", "def application(env, start): start('200 OK', []); return [b'POST']\n"],
])("%s, a body that nobody reads and that comes in several steps", async (_what, file, program) => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  writeFileSync(join(directory, "app", file), program);
  const gateway = startGateway([join(directory, "app"), "--listen", "127.0.0.1:0", "--max", "2"]);
  const address = await gateway.address();
  const large = "x".repeat(600 * 1024);
  const ask = async (body: string): Promise<number[]> => {
    const statuses: number[] = [];
    for (let round = 0; round < 50 * rounds; round += 1) {
      const answer = await fetch(address, { method: "POST", body });
      await answer.text();
      statuses.push(answer.status);
    }
    return statuses;
  };
  const all = (await Promise.all([ask(large), ask(large), ask("hi"), ask("hi")])).flat();
  expect(all.filter((status) => status !== 200)).toEqual([]);
  await gateway.end();
});
