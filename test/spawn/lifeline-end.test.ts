/**
 * Instances whose lifeline has ended serve on as long as they have sessions (PROTOCOL section 10).
 * What they would still say on it goes nowhere: its number must not become a session's.
 */
import { afterEach, expect, test } from "bun:test";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import type { AppType } from "../../src/wire/app-request.ts";
import { sendAll } from "../helpers/raw-client.ts";
import { BareInstance } from "./bare-instance.ts";
import { nextAnswer } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { get, writeApp } from "./support.ts";

const { directory } = spawnerScene();
let instance: BareInstance;

afterEach(() => instance.end());

const node = `
require("node:http").createServer((request, response) => response.end("hello")).listen(0);
`;
const asgi = `
async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
`;
const wsgi = `
def application(environ, start):
    start("200 OK", [("Content-Length", "5")])
    return [b"hello"]
`;
const programs: readonly (readonly [AppType, file: string, text: string])[] = [
  ["rack", "config.ru", 'run lambda { |env| [200, {}, ["hello"]] }\n'],
  ["wsgi", "wsgi.py", wsgi],
  ["asgi", "asgi.py", asgi],
  ["node", "app.js", node],
  ["bun", "server.ts", 'Bun.serve({ fetch: () => new Response("hello") });\n'],
];

async function ask(session: OwnedFd): Promise<void> {
  await sendAll(session.number, get({ REQUEST_URI: "/", PATH_INFO: "/", SESSION_KEEP: "1" }));
  const { head, body } = await nextAnswer(session);
  expect(head).toStartWith("Status: 200");
  expect(body).toBe("hello");
}

test.each(programs)("%s: new sessions get nothing but answers", async (type, file, text) => {
  const root = writeApp(directory, type, { [file]: text });
  instance = await new BareInstance(directory).begin(root, type);
  const held = instance.connect();
  await ask(held);
  instance.closeLifeline();
  const sessions: OwnedFd[] = [];
  for (let turn = 0; turn < 40; turn += 1) {
    const session = instance.connect();
    await ask(session);
    sessions.push(session);
    // It is told of one that is over.
    if (turn % 2 === 1) sessions.shift()?.close();
    await Bun.sleep(2);
  }
  for (const session of [held, ...sessions]) {
    await ask(session);
    session.close();
  }
});
