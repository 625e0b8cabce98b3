/** How instances are scheduled (src/native/process.ts, scheduleAsBatch). */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { ascii } from "../../src/wire/bytes.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { spawnRequest, writeApp } from "./support.ts";

const { directory, spawner } = spawnerScene();

/** Of sched(7), by the number that proc(5) has in `stat`. */
function policyOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { 0: "SCHED_OTHER", 3: "SCHED_BATCH" }[Number(fields[38])] ?? "another";
}

const wsgi = "def application(environ, start_response):\n    pass\n";
const asgi = "async def application(scope, receive, send):\n    pass\n";
const node = 'require("http").createServer(() => {}).listen(3000);';

test.each([
  ["rack", "config.ru", "run ->(env) { [200, {}, []] }\n", "smart", "SCHED_BATCH"],
  ["rack", "config.ru", "run ->(env) { [200, {}, []] }\n", "conservative", "SCHED_BATCH"],
  ["wsgi", "passenger_wsgi.py", wsgi, "smart", "SCHED_BATCH"],
  ["wsgi", "passenger_wsgi.py", wsgi, "conservative", "SCHED_BATCH"],
  ["auto", "wsgi.py", wsgi, "smart", "SCHED_BATCH"],
  ["auto", "wsgi.py", wsgi, "conservative", "SCHED_BATCH"],
  ["asgi", "asgi.py", asgi, "conservative", "SCHED_OTHER"],
  ["auto", "wsgi.py", asgi, "smart", "SCHED_OTHER"],
  ["auto", "wsgi.py", asgi, "conservative", "SCHED_OTHER"],
  ["node", "app.js", node, "conservative", "SCHED_OTHER"],
  ["bun", "server.ts", "export default { fetch() {} };", "conservative", "SCHED_OTHER"],
])(
  "an instance of type %s, of %s (%j), %s, has %s",
  async (appType, file, source, method, policy) => {
    const root = writeApp(directory, `${appType}-${policy}-${method}`, { [file]: source });
    const more = { appType: ascii(appType), spawnMethod: ascii(method) };
    const instance = await spawner.spawn(spawnRequest(root, more));
    expect(policyOf(instance.pid)).toBe(policy);
    instance.release();
  },
);
