/** A process that has served `max_requests` is replaced: nobody waits for that. */
import { expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { gateways, poolOf } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Says its process and how many requests that has served; does not start while there is `hold`. */
const counting = `import os, time
while os.path.exists("hold"):
    time.sleep(0.01)
count = 0
def application(environ, start_response):
    global count
    count += 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d %d" % (os.getpid(), count)]
`;

test("the process serves on until the one that replaces it is ready", async () => {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  mkdirSync(root);
  writeFileSync(join(root, "passenger_wsgi.py"), counting);
  const lines = [
    'listen = ["127.0.0.1:0"]',
    "[[apps]]",
    `root = "${root}"`,
    'type = "wsgi"',
    'spawn_method = "conservative"',
    "max_instances = 1",
    "max_requests = 40",
  ];
  writeFileSync(join(directory, "pool.toml"), lines.join("\n"));
  const gateway = startGateway(["--config", join(directory, "pool.toml")]);
  const address = await gateway.address();
  const ask = async () => {
    const answer = await fetch(address);
    return (await answer.text()).split(" ").map(Number);
  };
  const [first = 0] = await ask();
  writeFileSync(join(root, "hold"), "");
  for (let count = 2; count <= 40; count += 1) expect(await ask()).toEqual([first, count]);
  await until("another is started", async () => {
    const { applications } = await poolOf(gateway);
    return applications[0]?.spawns.length === 1;
  });
  for (let count = 41; count <= 100; count += 1) expect(await ask()).toEqual([first, count]);
  rmSync(join(root, "hold"));
  await until("another serves", async () => (await ask())[0] !== first);
  await gateway.end();
});
