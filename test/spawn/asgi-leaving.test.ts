/** What an ASGI application hears of clients that leave while it answers. */
import { beforeAll, expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { readExactly, sendAll } from "../helpers/raw-client.ts";
import { application, asgiRequest } from "./asgi-programs.ts";
import { readHead } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, endWriting, exchange, get, parseAnswer, writeApp } from "./support.ts";

const { directory, spawner } = spawnerScene();
let instance: Instance;

beforeAll(async () => {
  instance = await spawner.spawn(
    asgiRequest(writeApp(directory, "app", { "asgi.py": application })),
  );
});

const waiting = (more: Readonly<Record<string, string>>) => get({ REQUEST_URI: "/wait", ...more });

const seen = async () => parseAnswer(await exchange(instance, get({ REQUEST_URI: "/seen" }))).body;

test("receive says that the client has left, and send raises OSError", async () => {
  for (const keep of ["0", "1"]) {
    const session = connected(instance);
    await sendAll(session.number, waiting({ SESSION_KEEP: keep }));
    while (!(await readExactly(session.number, 1)).endsWith("n"));
    session.close();
    await until("it knows", async () => (await seen()).includes('"http.disconnect, ClientGone"'));
  }
});

test("receive says that the client has left with its last bytes, and something unread", async () => {
  const bodies: [Record<string, string>, string[]][] = [
    [{ REQUEST_METHOD: "POST", CONTENT_LENGTH: "3" }, ["ab", "c"]],
    [{ REQUEST_METHOD: "POST", HTTP_TRANSFER_ENCODING: "chunked" }, ["1\r\na", "\r\n0\r\n\r\n"]],
  ];
  for (const [variables, [first = "", last = ""]] of bodies) {
    const session = connected(instance);
    await sendAll(session.number, waiting({ SESSION_KEEP: "1", ...variables }));
    await sendAll(session.number, Buffer.from(first));
    while (!(await readExactly(session.number, 1)).endsWith("b"));
    process.kill(instance.pid, "SIGSTOP");
    await sendAll(session.number, Buffer.from(last));
    session.close();
    process.kill(instance.pid, "SIGCONT");
    await until("it knows", async () => (await seen()).includes('"http.disconnect, ClientGone"'));
  }
});

test("receive tells a client that has ended its side from one that has left", async () => {
  using session = connected(instance);
  await sendAll(session.number, waiting({ REQUEST_METHOD: "POST", CONTENT_LENGTH: "0" }));
  endWriting(session.number);
  expect(await readHead(session)).toStartWith("Status: 200");
  await Bun.sleep(1_200); // Longer than it takes to look whether it is still there.
  expect(await seen()).toBe("[]");
  session.close();
  await until("it knows", async () => (await seen()).includes("http.disconnect"));
});
